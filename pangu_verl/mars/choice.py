"""The multiple-choice reward: whether a response names the gold option, by letter or by the option's text.

The one choice of a response (of its last ``<answer>``, where it has such a tag) is found by the first of these that
finds any: the last box; the last declaration ("the answer is (B)"); the last line that is nothing but an option; the
last of the closing lines that names a letter.

Invariant: one response makes one choice. Where that place names several letters, or denies one ("not B"), the choice is
wrong, so hedging never pays. "A" and "I" as words are no letters. Only ``row.answer`` is read, in linear time.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pangu_verl.mars.answers import find_boxed
from pangu_verl.mars.denials import denied_after, denied_before
from pangu_verl.mars.literal import tagged, visible
from pangu_verl.types import RewardRow, Verdict

FoundBy = Literal["boxed", "declared", "line", "closing"]

SEARCHED_CHARACTERS = 100_000
PHRASE_CHARACTERS = 400
CLOSING_LINES = 3
SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """What a response chose: an upper-case letter, or None where ``problem`` says why it is no single one."""

    letter: str | None
    found_by: FoundBy
    problem: str = ""


class ChoiceSource:
    """Judges rows whose gold is the letter of an option, or an option's text where the question holds the options."""

    name = "choice"
    domains = frozenset({"choice"})

    async def judge(self, row: RewardRow) -> Verdict:
        started = time.perf_counter()
        return replace(_judge(row), seconds=time.perf_counter() - started)


def _judge(row: RewardRow) -> Verdict:
    options = options_in(row.question)
    gold = gold_letter(row.ground_truth or "", options)
    if gold is None:
        reason = f"the gold {(row.ground_truth or '')[:SHOWN_CHARACTERS]!r} is no letter and no option of the question"
        return Verdict(score=None, passed=None, reason=reason, source=ChoiceSource.name)
    choice = find_choice(row.answer, options)
    if choice is None:
        return _judged(False, "no choice found", {"format_failure": True})
    details = {"chosen": choice.letter, "found_by": choice.found_by}
    if choice.letter is None:
        return _judged(False, choice.problem, details)
    right = choice.letter == gold
    return _judged(right, f"chose {choice.letter}, which {'is' if right else 'is not'} {gold}", details)


def _judged(passed: bool, reason: str, details: Mapping[str, object]) -> Verdict:
    return Verdict(score=float(passed), passed=passed, reason=reason, source=ChoiceSource.name, details=details)


# --- the question's options and the gold -----------------------------------------------------------------------------

_OPTION = re.compile(r"^[ \t*>-]{0,8}\(?([A-Z])(?:[.):：、．]|\))\**[ \t]*(\S[^\n]*)$", re.MULTILINE)
_GOLD = re.compile(r"\(?\s*([A-Za-z])\s*[).:]?")


def options_in(question: str) -> dict[str, str]:
    """The options that a question lists a line each, "A) Paris" or "(A) Paris"; empty unless they run from A on."""
    found = {match[1]: match[2] for match in _OPTION.finditer(question[-SEARCHED_CHARACTERS:])}
    letters = [chr(ord("A") + index) for index in range(len(found))]
    return {letter: found[letter] for letter in letters} if len(found) > 1 and sorted(found) == letters else {}


def gold_letter(gold: str, options: Mapping[str, str]) -> str | None:
    """The letter that a gold text is, or whose option's text it is; None where it is neither."""
    gold = (find_boxed(gold) or gold).strip()
    if match := _GOLD.fullmatch(gold):
        letter = match[1].upper()
        return letter if not options or letter in options else None
    same = [letter for letter, text in options.items() if _words(text) and _words(text) == _words(gold)]
    return same[0] if len(same) == 1 else None


# --- the response's choice -------------------------------------------------------------------------------------------

_DECLARATION = re.compile(
    r"(?:\b(?:answer|choice|option)\b[^\n.:：=?!]{0,60}?(?:\bis\b|\bwould be\b|\bmust be\b|[:：=])"
    r"|\b(?:i|we|i['’]ll|i['’]d|let['’]s)\s+(?:would\s+|will\s+)?(?:choose|select|pick|go with)\b"
    r"|(?:答案|选项)[^\n.:：=？！。]{0,20}?(?:是|为|选|[:：=])|(?:应|故|因此|所以)选择?|####)",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"[\s*_$:：\"'“‘`{\\]*(?:(?:therefore|thus|simply|clearly|definitely|just),?\s+)?"
    r"(?:(?:the\s+)?(?:option|choice|answer|letter|选项)\b[\s*_:：{$\"'“‘`]*)?",
    re.IGNORECASE,
)
_TEXT_COMMAND = re.compile(r"\\(?:text|mbox|textbf|textit|textrm|mathrm|mathbf|boxed)\s*\{")
_DENIED = re.compile(r"(?:not|n['’]t|neither|never|cannot|anything but|other than|rather than|不是)\b", re.IGNORECASE)
_LETTER = re.compile(r"(?P<open>[(\[{]*)\s*(?P<letter>[A-Za-z])(?![\w'’])(?P<rest>[^\n]*)")
_CLOSED = re.compile(
    r"[\s*_$}]*(?:[)\]}.:：,;!?。，、*]|$|\\)|\s+(?:because|since|as|which|is|based|due|for|with|and|or)\b|\s*[-–—]"
)
_SIGN = r"[\s*_$(){}\[\]\"'\\]|\.(?!\s)"
_JOIN = (
    r"[,;/&+|，、–—-]|或|和"
    r"|\b(?:and|or|nor|to|vs|versus|maybe|perhaps|possibly|probably|also|else|even|option|choice)\b"
)
_ANOTHER = re.compile(
    rf"(?:{_SIGN})*+(?P<joined>(?:{_JOIN})(?:{_SIGN}|{_JOIN})*+)?(?<![\w'’])(?P<letter>[A-Z])"
    r"(?:[\s*_$)\]}\"'.!?\\]*$|[)\]*}]|(?(joined)(?:,|\s*[/&|+]|\s+(?:and|or|is\s+also)\b)|(?!)))"
)
_WIDE_LETTERS = {ord("Ａ") + index: chr(ord("A") + index) for index in range(26)} | {ord("（"): "(", ord("）"): ")"}
SEVERAL = "several options are named"
DENIED = "the answer says what is not chosen"


def find_choice(answer: str, options: Mapping[str, str]) -> Choice | None:
    """The choice that a text without its reasoning states, or None where it states none."""
    text = tagged(visible(answer[-SEARCHED_CHARACTERS:]).translate(_WIDE_LETTERS)).strip()
    if boxed := find_boxed(text):
        return _read(boxed, options, "boxed", whole=True) or Choice(None, "boxed", "the box holds no option")
    for declaration in reversed(list(_DECLARATION.finditer(text))[-20:]):
        phrase = text[declaration.end() : declaration.end() + PHRASE_CHARACTERS].lstrip(" \t\n*_:：")
        if choice := _read(phrase.partition("\n")[0], options, "declared"):
            return choice
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _lone_line(lines, options) or _closing_letter(lines[-CLOSING_LINES:], options)


def _read(phrase: str, options: Mapping[str, str], found_by: FoundBy, *, whole: bool = False) -> Choice | None:
    """The choice that a phrase begins with; with ``whole``, nothing but an option may stand there."""
    phrase = _TEXT_COMMAND.sub("{", phrase)
    phrase = phrase[_matched(_OPENING, phrase) :]
    if _DENIED.match(phrase):
        return Choice(None, found_by, DENIED)
    match = _LETTER.match(phrase)
    if match is None or not _is_letter(match, whole, options):
        letter = _option_by_text(phrase, options, whole=whole)
        return Choice(letter, found_by) if letter else None
    chosen, rest = match["letter"].upper(), match["rest"]
    if denied_after(rest):
        return Choice(None, found_by, DENIED)
    another = _ANOTHER.match(rest)
    if another and another["letter"] != chosen and not _begins_with(_words(rest), _words(options.get(chosen, ""))):
        return Choice(None, found_by, SEVERAL)
    return Choice(chosen, found_by)


def _is_letter(match: re.Match[str], whole: bool, options: Mapping[str, str]) -> bool:
    """Whether a letter stands for an option rather than for a word such as "a" or "I"."""
    letter, rest = match["letter"], match["rest"]
    if options and letter.upper() not in options:
        return False
    if match["open"].strip("{") or re.match(r"[\s*_]*[)\]]", rest) or not rest.strip(" *_$}.\"'”’`"):
        return True
    if letter.islower():
        return False
    if whole or letter in "AI":
        return bool(_CLOSED.match(rest)) and not (letter == "I" and rest[:1] == " ")
    return bool(_CLOSED.match(rest)) or rest[:1].isspace()


def _lone_line(lines: list[str], options: Mapping[str, str]) -> Choice | None:
    """The last line that is an option and nothing else: a letter, or a letter with its text, or its text."""
    whole_lines = [line for line in lines if len(line) <= PHRASE_CHARACTERS]
    for index in range(len(whole_lines) - 1, -1, -1):
        if _LONE_LETTER.fullmatch(whole_lines[index]):
            choice, above = (_read(line, options, "line") for line in (whole_lines[index], whole_lines[index - 1]))
            is_listed = index > 0 and _LONE_LETTER.fullmatch(whole_lines[index - 1]) and choice != above
            return Choice(None, "line", SEVERAL) if is_listed else choice
    stated = {choice.letter: choice for line in whole_lines if (choice := _listed(line, options))}
    if len(stated) > 1:
        return Choice(None, "line", SEVERAL)
    return next(iter(stated.values()), None)


def _listed(line: str, options: Mapping[str, str]) -> Choice | None:
    if _OPTION.match(line):
        return _read(line, options, "line")
    letter = _option_by_text(line, options, whole=True)
    return Choice(letter, "line") if letter else None


_LONE_LETTER = re.compile(r"[\s*_$(\[\"'`{]*(?:\\text\{)?[A-Za-z][\s*_$)\].\"'`:}]*")
_DENIED_BEFORE = re.compile(r"(?:\b(?:not|never|cannot|neither)|n['’]t)\W{0,5}(?:\w+\W+)?$", re.IGNORECASE)
_DENIED_AFTER = re.compile(r"[\s*_$)\]}.\"'”’]*(?:(?:is|was)\s+not\b|(?:is|was|ca)n['’]t\b|cannot\b)", re.IGNORECASE)
_STANDALONE = re.compile(
    r"(?<![\w'’\\])(?:[(\[*]{1,3}(?P<marked>[A-Z])[)\]*]{1,3}|(?P<bare>[B-HJ-Z])(?=[\s.,;:!?)*/|]|$)"
    r"|(?P<listed>A)(?=[\s,/&|]+(?:(?:or|and)\s+)?[(\[*]*[B-HJ-Z](?:\W|$))"
    r"|(?:(?<=\bor )|(?<=\band )|(?<=[,/&|])|(?<=[,/&|] ))(?P<last>A)(?=[.!?)*\s]*$))(?![\w'’])"
)


def _closing_letter(lines: list[str], options: Mapping[str, str]) -> Choice | None:
    """The letter that stands by itself in the last line that has any; "A" and "I" in a sentence are taken for words."""
    for line in reversed(lines):
        marks = {match[match.lastgroup or 0]: match for match in _STANDALONE.finditer(line)}
        named = [letter for letter in marks if letter in (options or "ABCDEFGHIJ")]
        if len(named) > 1:
            return Choice(None, "closing", SEVERAL)
        if named:
            before, after = line[: marks[named[0]].start()], line[marks[named[0]].end() :]
            denied = _DENIED_BEFORE.search(before) or denied_before(before[-PHRASE_CHARACTERS:])
            if denied or _DENIED_AFTER.match(after) or denied_after(after):
                return Choice(None, "closing", DENIED)
            return Choice(named[0], "closing")
    return None


def _option_by_text(phrase: str, options: Mapping[str, str], *, whole: bool) -> str | None:
    """The option whose text a phrase is, or begins with; of several the longest, and none where two are the same, or
    where another option follows.
    """
    words = _words(phrase)
    texts = {letter: option for letter, text in options.items() if (option := _words(text))}
    fitting = [
        (len(option), letter)
        for letter, option in texts.items()
        if (words == option if whole else _begins_with(words, option))
    ]
    if not fitting:
        return None
    longest, letter = max(fitting)
    rest = list(itertools.dropwhile(_JOINS.__contains__, words[longest:]))
    if any(_begins_with(rest, option) for option in texts.values()):
        return None
    return letter if [length for length, _ in fitting].count(longest) == 1 else None


_JOINS = frozenset({"or", "and", "nor", "/", "&", "|", "+", "maybe", "perhaps", "possibly"})


def _begins_with(words: list[str], option: list[str]) -> bool:
    return bool(option) and words[: len(option)] == option


def _words(text: str) -> list[str]:
    words = (word.strip("*_`\"'“”‘’.,;:!?$(){}\\") for word in text.casefold().split())
    return [word for word in words if word]


def _matched(pattern: re.Pattern[str], text: str) -> int:
    match = pattern.match(text)
    return match.end() if match else 0
