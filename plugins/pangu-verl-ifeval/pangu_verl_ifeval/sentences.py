"""Counting sentences by rules: end signs, and what looks like an end and is none.

Passed over are common abbreviations, initials, the numbers of a list, and dots of omission before a small letter. A
line's end alone ends no sentence; what stands after the last end sign is one. Linear in the text.
"""

from __future__ import annotations

_CLOSING = "\"'”’»)]}*_`"
_LATIN_ENDS = (".", "!", "?", "…")
#: Signs that end a sentence also where no space follows.
_OTHER_ENDS = "。！？।۔؟"
_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof rev hon st mt jr sr gen col capt lt sgt gov sen rep pres vs etc e.g i.e cf al inc ltd co corp
    dept est fig nos vol pp approx jan feb mar apr jun jul aug sep sept oct nov dec a.m p.m u.s u.k ph.d
    """.split()  # noqa: SIM905 - a list of sixty words is a column of sixty lines
)


def count_sentences(text: str) -> int:
    """How many sentences a text has."""
    words = text.split()
    count = 0
    is_open = False
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        core = word.rstrip(_CLOSING)
        inner = 0 if core.isascii() else sum(core.count(sign) for sign in _OTHER_ENDS)
        if inner:
            count += inner
            is_open = core[-1] not in _OTHER_ENDS
        elif core.endswith(_LATIN_ENDS) and not _goes_on(core, following, is_open):
            count += is_open or _says_something(core)
            is_open = False
        else:
            is_open = is_open or _says_something(core)
    return count + is_open


def _says_something(word: str) -> bool:
    return any(character.isalnum() for character in word)


def _goes_on(word: str, following: str, is_open: bool) -> bool:
    """Whether the sentence goes on, or has not begun, although ``word`` ends like one."""
    if not following or word.endswith(("!", "?")):
        return False
    if word.endswith(("...", "…")):
        return following[:1].islower()
    stem = word.rstrip(".").lstrip("\"'“‘([*_").casefold()
    if stem in _ABBREVIATIONS or (len(stem) == 1 and stem.isalpha()):
        return True
    return not is_open and stem.isdigit()
