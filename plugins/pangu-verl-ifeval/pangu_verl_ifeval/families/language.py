"""Which language an answer is in, as py3langid finds it.

The library is imported on first use: half a second and 100 MB that rows without such checks need not pay.
"""

from __future__ import annotations

import functools

from pangu_verl_ifeval.refusal import CannotJudge

#: Enough to tell a language; more only costs time.
READ_CHARACTERS = 5_000
#: Under so many letters the finding is noise.
FEW_LETTERS = 20


def response_language(answer: str, *, language: str) -> bool:
    """The answer is in the language of this ISO 639-1 code. Raises ``CannotJudge`` for a code that is not known."""
    code = language.strip().lower().partition("-")[0]
    if code not in _known_codes():
        raise CannotJudge(f"language:response_language has language = {language[:100]!r}, which is no known code")
    return any(character.isalpha() for character in answer) and _language_of(answer) == code


def is_english(answer: str) -> bool:
    """Whether an answer is in English; a short one that is all ASCII is taken for it."""
    letters = [character for character in answer[:READ_CHARACTERS] if character.isalpha()]
    if 0 < len(letters) < FEW_LETTERS and all(letter.isascii() for letter in letters):
        return True
    return bool(letters) and _language_of(answer) == "en"


def _language_of(answer: str) -> str:
    import py3langid

    return str(py3langid.classify(_larger_script(answer[:READ_CHARACTERS]))[0])


def _larger_script(text: str) -> str:
    """The Latin words of a text or the others, whichever are more.

    A language's own script outweighs any amount of English around it, so one sentence with a long translation would
    count as what it translates.
    """
    parts: dict[bool, list[str]] = {True: [], False: []}
    for word in text.split():
        letters = [character for character in word if character.isalpha()]
        if letters:
            parts[all(character < "\u0250" or "\u1e00" <= character < "\u1f00" for character in letters)].append(word)
    return " ".join(max(parts.values(), key=lambda words: sum(map(len, words))))


@functools.cache
def _known_codes() -> frozenset[str]:
    import py3langid

    return frozenset(code for code, _ in py3langid.rank("any text"))
