"""Finding the answer in a response: what follows the reasoning, and the one final answer stated in it.

Invariant: one response gives at most one candidate, so that naming several values never gains anything, and a value
that the text denies ("not 5") keeps its denial. All work is linear in the text. Whether the candidate is right is not
judged here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pangu_verl.mars.literal import unwrapped

FoundBy = Literal["boxed", "declared", "whole", "formula", "last_number"]

OPEN_TAGS = ("<think>", "[unused16]")
CLOSE_TAGS = ("</think>", "[unused17]")
TURN_END = "[unused10]"

SEARCHED_CHARACTERS = 100_000
PHRASE_CHARACTERS = 400
GAP_CHARACTERS = 80
MOST_WORDS = 5
MOST_DECLARATIONS = 20


@dataclass(frozen=True, slots=True)
class Extraction:
    """A final answer as written, and how it was found.

    ``whole``: the answer is nothing but a value. ``formula``: the value comes last and stands in LaTeX mathematics, of
    which a bare number would be only a part.
    """

    text: str
    found_by: FoundBy


def split_reasoning(response: str) -> str:
    """What follows the last close tag; empty while reasoning is still open, because it was cut off."""
    end = max(response.rfind(tag) + len(tag) if tag in response else 0 for tag in CLOSE_TAGS)
    answer = response[end:]
    if any(tag in answer for tag in OPEN_TAGS):
        return ""
    return answer.partition(TURN_END)[0].strip()


def extract_final_answer(answer: str) -> Extraction | None:
    """The final answer of a text without its reasoning, or None where it states none. Only a box may be long."""
    text = _CALCULATION.sub("", answer[-SEARCHED_CHARACTERS:]).strip()
    finders: tuple[tuple[FoundBy, Callable[[str], str | None]], ...] = (
        ("boxed", find_boxed),
        ("declared", _find_declared),
        ("whole", _find_whole),
        ("formula", _find_formula),
        ("last_number", _find_last_number),
    )
    for found_by, find in finders:
        found = find(text)
        if found and (found_by == "boxed" or len(found) <= PHRASE_CHARACTERS):
            return Extraction(found, found_by)
    return None


_CALCULATION = re.compile(r"<<[^<>\n]{0,200}>>")  # GSM8K's annotations, as in "2*50 = <<2*50=100>>100"

# --- a box -----------------------------------------------------------------------------------------------------------

_BRACE = re.compile(r"(?P<box>\\{1,3}(?:boxed|fbox)\s*\{)|\\.|[{}]", re.DOTALL)
_GLUE = r"(?:[\s$]|\\[()\[\],;:!]|\\q?quad(?![a-z]))"
_JOINS_BOXES = re.compile(rf"{_GLUE}*(?:[,;，、和]|,?and|or|\\text\{{[\s,]*(?:and|or)\s*\}})(?:{_GLUE})*")


def find_boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed`` or ``\fbox``; boxes joined by a comma, "and" or "or" are one list."""
    boxes = [box for box in _closed_boxes(text) if text[box[1] : box[2]].strip()]
    if not boxes:
        return None
    start, content_start, content_end = boxes.pop()
    contents = [text[content_start:content_end].strip()]
    while boxes:
        previous_start, previous_content_start, previous_end = boxes.pop()
        gap = text[previous_end + 1 : start] if start - previous_end <= GAP_CHARACTERS else ""
        if not _JOINS_BOXES.fullmatch(gap):
            break
        start = previous_start
        contents.append(text[previous_content_start:previous_end].strip())
    return _with_denial(text, start, ", ".join(dict.fromkeys(reversed(contents))))


def _closed_boxes(text: str) -> list[tuple[int, int, int]]:
    """Every balanced box as (start, start of content, end of content), in order of start."""
    boxes: list[tuple[int, int, int]] = []
    open_braces: list[tuple[int, int] | None] = []
    for token in _BRACE.finditer(text):
        if token["box"]:
            open_braces.append((token.start(), token.end()))
        elif token[0] == "{":
            open_braces.append(None)
        elif token[0] == "}" and open_braces and (opening := open_braces.pop()):
            boxes.append((*opening, token.start()))
    return sorted(boxes)


# --- a declaration ---------------------------------------------------------------------------------------------------

_DECLARATION = re.compile(
    r"(?:\banswer\b(?:[^\n.:：=?!]{0,60}?\bis\b|[\s*_]{0,5}(?:\([^()\n]{0,40}\)[\s*_]{0,5})?[:：=])"
    r"|答案[^\n.:：=？！。]{0,20}?(?:是|为|[:：=])|####)"
    r"[\s*_:：]*(?:(?:therefore|thus|simply|just|exactly|approximately|about|equal to|given by),?\s+)*",
    re.IGNORECASE,
)
_PHRASE_END = re.compile(
    r"\n|[.!?](?=[\s*\"'”]|$)|[。！？]|,?\s(?:because|since|which|where|so|when|as|not|rather|instead)\s", re.IGNORECASE
)
_STARTS_LIKE_MATHS = re.compile(r"[^\w\s]|[0-9０-９]|[^\W\d_]\w?\s*[=<>≤≥^_+*/(-]|not\b", re.IGNORECASE)
_NOT_ONE_VALUE = re.compile(r"^not\b|\\(?:boxed|fbox)|\$|\\[(\[]|[-+*/×÷]\s*[0-9.,]+\s*=", re.IGNORECASE)
_LATEX_COMMAND = re.compile(r"\\[A-Za-z]+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_MARKDOWN = "*_`\"'“”~ \t"


def _find_declared(text: str) -> str | None:
    for declaration in reversed(list(_DECLARATION.finditer(text))[-MOST_DECLARATIONS:]):
        rest = text[declaration.end() : declaration.end() + PHRASE_CHARACTERS]
        phrase = _leading_formula(rest) or _PHRASE_END.split(rest, maxsplit=1)[0].strip(_MARKDOWN)
        if _looks_like_answer(phrase):
            return phrase
    return None


def _find_whole(text: str) -> str | None:
    line = unwrapped(text.strip(_MARKDOWN))
    if len(line) > PHRASE_CHARACTERS or _NOT_ONE_VALUE.search(line) or _PHRASE_END.search(line):
        return None
    return line if _looks_like_answer(line) else None


def _looks_like_answer(phrase: str) -> bool:
    """A value rather than prose: it begins like mathematics, or it is a few words without a digit."""
    if not phrase or len(_WORD.findall(_LATEX_COMMAND.sub(" ", phrase))) > MOST_WORDS:
        return False
    return bool(_STARTS_LIKE_MATHS.match(phrase)) or not any(character.isdigit() for character in phrase)


# --- a formula -------------------------------------------------------------------------------------------------------

_DELIMITERS = ((r"\[", r"\]"), (r"\(", r"\)"), ("$$", "$$"), ("$", "$"))


def _find_formula(text: str) -> str | None:
    """The last formula, unless a number follows it or it holds none while the text does."""
    spans = [span for delimiters in _DELIMITERS if (span := _last_span(text, *delimiters))]
    if not spans:
        return None
    start, end, content = max(spans, key=lambda span: (span[1], -span[0]))
    if _has_digit(text[end:]) or (_has_digit(text) and not _has_digit(content)):
        return None
    return _with_denial(text, start, content)


def _last_span(text: str, opening: str, closing: str) -> tuple[int, int, str] | None:
    content_end = text.rfind(closing)
    start = text.rfind(opening, 0, max(content_end, 0))
    if start < 0:
        return None
    content = text[start + len(opening) : content_end]
    end = content_end + len(closing)
    if opening == "$" and not _is_inline_mathematics(text, start, end, content):
        return None
    return (start, end, content.strip()) if content.strip() else None


def _is_inline_mathematics(text: str, start: int, end: int, content: str) -> bool:
    """Pandoc's rule, which keeps two prices apart from one formula: "$5 and $6"."""
    evenly_padded = content[:1].isspace() == content[-1:].isspace() and "\n" not in content
    return evenly_padded and text[start - 1 : start] not in ("\\", "$") and not text[end : end + 1].isdigit()


def _leading_formula(text: str) -> str | None:
    for opening, closing in _DELIMITERS:
        if text.startswith(opening):
            content, found, _ = text[len(opening) :].partition(closing)
            end = len(opening) + len(content) + len(closing)
            if found and content.strip() and (opening != "$" or _is_inline_mathematics(text, 0, end, content)):
                return content.strip()
    return None


# --- the last number -------------------------------------------------------------------------------------------------

_NUMBER_TOKEN = re.compile(
    r"[(\[]?(?P<number>[-+−]?[$€£¥]?[-+−]?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?:/[0-9]+)?(?:\\?%)?)(?![0-9])"
    r"(?:[)\]]|[-/]?[^\W\d_]{2,}.*)?"
)
_RELATION = re.compile(r"[=≈>→]+")
_FOLLOWERS = frozenset({"%", r"\%", "percent", "hundred", "thousand", "million", "billion", "trillion", "dozen"})
_DENIAL_END = re.compile(r"(?:\bnot|n['’]t|≠|!=|\\neq?)(?:\s+equal\s+to)?[\s$*:({\[\\]*$", re.IGNORECASE)


def _find_last_number(text: str) -> str | None:
    tokens = text.translate(_TO_ASCII).split()
    for index in range(len(tokens) - 1, -1, -1):
        if _has_digit(tokens[index]):
            follower = tokens[index + 1].rstrip(".,;:!?*") if index + 1 < len(tokens) else ""
            value = _value_of_token(tokens[index]) + (f" {follower}" if follower.lower() in _FOLLOWERS else "")
            before = " ".join(tokens[max(0, index - 3) : index])
            return _with_denial(before, len(before), value)
    return None


def _value_of_token(token: str) -> str:
    """The number in a word such as "a=26/day"; the word itself where the number is only a part of an expression."""
    part = next(part for part in reversed(_RELATION.split(token)) if _has_digit(part)).strip("*_`\"'.,;:!?~")
    match = _NUMBER_TOKEN.fullmatch(part)
    return match["number"].rstrip(",") if match else part


_TO_ASCII = str.maketrans("０１２３４５６７８９．，％－＋", "0123456789.,%-+")


def _has_digit(text: str) -> bool:
    return any("0" <= character <= "9" or "０" <= character <= "９" for character in text)


def _with_denial(text: str, start: int, value: str) -> str:
    """Keep the "not" that stands before a value at ``start``."""
    return f"not {value}" if _DENIAL_END.search(text[max(0, start - GAP_CHARACTERS) : start]) else value
