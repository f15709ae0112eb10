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

from pangu_verl.mars.denials import another_after, another_before, denied_after, denied_before
from pangu_verl.mars.literal import tagged, unwrapped, visible

FoundBy = Literal["boxed", "declared", "whole", "formula", "last_number"]

OPEN_TAGS = ("<think>", "[unused16]")
CLOSE_TAGS = ("</think>", "[unused17]")
TURN_END = "[unused10]"

SEARCHED_CHARACTERS = 100_000
PHRASE_CHARACTERS = 400
GAP_CHARACTERS = 80
MOST_WORDS = 5
MOST_DECLARATIONS = 20
WORDS_AROUND = 8


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
    text = _CALCULATION.sub("", tagged(visible(answer[-SEARCHED_CHARACTERS:]))).strip()
    if (restated := _find_restated(text)) is not None:
        return Extraction(restated, "declared")
    finders: tuple[tuple[FoundBy, Callable[[str], str | None]], ...] = (
        ("boxed", find_boxed),
        ("declared", find_declared),
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
_JOINS_BOXES = re.compile(
    r"[,;，、和]|\b(?:and|or|vs|versus|alternatively|otherwise|else|maybe|perhaps|possibly)\b", re.IGNORECASE
)
_NOTHING_BETWEEN = re.compile(r"(?:[ \t$+&|/%?]|\\[()\[\],;:!%]|\\q?quad(?![a-z]))*")
_KEEPS_BOXES_APART = re.compile(
    r"[.!?:=>→⇒](?!\s*$)|\n\s*\n|\b(?:no|not|wait|but|then|so|hence|thus|therefore|actually|instead|rather|is|are|get)\b",
    re.IGNORECASE,
)
_NAME_BEFORE_BOX = re.compile(r"\\?[a-zA-Z]\w{0,5}\s{0,3}=\s{0,3}$")
_BOX_COMMAND = re.compile(r"\\{1,3}(?:boxed|fbox)\s*(?=\{)")
_LEADS_TO_BOX = re.compile(r"(?:.*[=≈:])?(?:[\s${]|\\{1,3}(?:boxed|fbox)(?![a-z]))*", re.DOTALL)


def find_boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed`` or ``\fbox``.

    Boxes with nothing but signs between them, or joined by a comma, "and" or "or" within a clause, are one list, so
    that a second box beside the right one never goes unseen. For the same reason a box inside a box is the answer only
    where nothing but an equation leads to it.
    """
    boxes = [box for box in _closed_boxes(text) if text[box[1] : box[2]].strip()]
    if not boxes:
        return None
    start, content_start, content_end = boxes.pop()
    contents, end = [text[content_start:content_end].strip()], content_end + 1
    if (outer := next((box for box in boxes if box[2] > content_end), None)) is not None:
        if not _LEADS_TO_BOX.fullmatch(text, outer[1], start) or text[end : outer[2]].strip("} .$"):
            contents = [_BOX_COMMAND.sub("", text[outer[1] : outer[2]]).strip()]
        start, end = outer[0], outer[2] + 1
        boxes = [box for box in boxes if box[2] < start]
    while boxes:
        previous_start, previous_content_start, previous_end = boxes.pop()
        if not previous_end < start <= previous_end + GAP_CHARACTERS or not _joins(text[previous_end + 1 : start]):
            break
        start = previous_start
        contents.append(text[previous_content_start:previous_end].strip())
    return _with_denial(text, start, end, ", ".join(dict.fromkeys(reversed(contents))))


def _joins(gap: str) -> bool:
    if _NOTHING_BETWEEN.fullmatch(gap):
        return True
    return bool(_JOINS_BOXES.search(gap)) and not _KEEPS_BOXES_APART.search(_NAME_BEFORE_BOX.sub("", gap))


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
    r"|\bfinal\s{1,3}answer[*_]{0,3}[ \t]{0,5}\n|答案[^\n.:：=？！。]{0,20}?(?:是|为|[:：=])|####)"
    r"[\s*_:：]*(?:(?:therefore|thus|simply|just|exactly|approximately|about|equal to|given by),?\s+)*",
    re.IGNORECASE,
)
_PHRASE_END = re.compile(
    r"\n|[.!?](?=[\s*\"'”]|$)|[。！？]|,?\s(?:because|since|which|where|so|when|as|(?<!\bis )not|rather|instead)\s",
    re.IGNORECASE,
)
_STARTS_LIKE_MATHS = re.compile(r"[^\w\s]|[0-9０-９]|[^\W\d_]\w?\s*[=<>≤≥^_+*/(-]|not\b", re.IGNORECASE)
_NOT_ONE_VALUE = re.compile(r"^not\b|\\(?:boxed|fbox)|\$|\\[(\[]|[-+*/×÷]\s*[0-9.,]+\s*=", re.IGNORECASE)
_LATEX_COMMAND = re.compile(r"\\[A-Za-z]+")
_LATEX_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textrm)\s*\{[^{}]*\}")
_WORD = re.compile(r"[^\W\d_]{2,}")
_LABEL = re.compile(r"[A-Z][A-Za-z]{1,20}(?: [A-Za-z]{1,20}){0,2}(?: [0-9]{1,2})?\s?[:=]\s?")
_VALUES = re.compile(r"(?:(?![0-9] ?[+*/x=] ?[0-9])[^A-Za-z:=]){1,100}(?:\band )?")
_MARKDOWN = "*_`\"'“”~ \t"


def find_declared(text: str, is_answer: Callable[[str], bool] | None = None) -> str | None:
    """The phrase of the last "the answer is ..." that ``is_answer`` takes: by default, one that looks like a value."""
    is_answer = is_answer or _looks_like_answer
    for declaration in reversed(list(_DECLARATION.finditer(text))[-MOST_DECLARATIONS:]):
        rest = text[declaration.end() : declaration.end() + PHRASE_CHARACTERS]
        phrase = _leading_formula(rest) or _PHRASE_END.split(rest, maxsplit=1)[0].strip(_MARKDOWN)
        if is_answer(phrase):
            after = rest.partition(phrase)[2]
            other = another_after(after)
            return f"not {phrase}" if denied_after(after) else f"{phrase} or {other}" if other else phrase
    return None


def _find_whole(text: str) -> str | None:
    line = unwrapped(text.strip(_MARKDOWN))
    if len(line) > PHRASE_CHARACTERS or _NOT_ONE_VALUE.search(line) or _PHRASE_END.search(line):
        return None
    return line if _looks_like_answer(line) else None


def _looks_like_answer(phrase: str) -> bool:
    """A value rather than prose: it begins like mathematics, or it is a few words without a digit."""
    if _is_labelled_list(phrase):
        return True
    if not phrase or len(_WORD.findall(_LATEX_COMMAND.sub(" ", _LATEX_TEXT.sub(" ", phrase)))) > MOST_WORDS:
        return False
    return bool(_STARTS_LIKE_MATHS.match(phrase)) or not any(character.isdigit() for character in phrase)


def _is_labelled_list(phrase: str) -> bool:
    """Two or more values with a name each, and nothing else: "Paolo: 18, Qing: 14"."""
    names = list(_LABEL.finditer(phrase))
    if len(names) < 2 or names[0].start() != 0:
        return False
    ends = [name.start() for name in names[1:]] + [len(phrase)]
    return all(_VALUES.fullmatch(phrase, name.end(), end) for name, end in zip(names, ends, strict=True))


_PLAIN_NUMBER = re.compile(r"[-+−]?[0-9][0-9,]*(?:\.[0-9]+)?")
_FINAL_DECLARATION = re.compile(r"\bfinal\s{1,3}answer[\s*_]{1,5}is[\s*_:]{0,5}", re.IGNORECASE)


def _find_restated(text: str) -> str | None:
    """The value of "the final answer is ..." after the last box: what the text says last is what it answers."""
    end = max(text.rfind(r"\boxed"), text.rfind(r"\fbox"))
    declarations = list(_FINAL_DECLARATION.finditer(text, end))[-1:] if end >= 0 else []
    for declaration in declarations:
        rest = text[declaration.end() : declaration.end() + PHRASE_CHARACTERS]
        formula = _leading_formula(rest)
        phrase = _PHRASE_END.split(rest, maxsplit=1)[0].strip(_MARKDOWN) if formula is None else formula
        if _has_digit(phrase) and (_PLAIN_NUMBER.fullmatch(phrase) if formula is None else _looks_like_answer(phrase)):
            return phrase
    return None


# --- a formula -------------------------------------------------------------------------------------------------------

_DELIMITERS = ((r"\[", r"\]"), (r"\(", r"\)"), ("$$", "$$"), ("$", "$"))
_CLOSING = {closing: re.compile(rf"(?<!\\){re.escape(closing)}") for _, closing in _DELIMITERS}


def _find_formula(text: str) -> str | None:
    """The last formula, unless a number follows it or it holds none while the text does."""
    spans = [span for delimiters in _DELIMITERS if (span := _last_span(text, *delimiters))]
    if not spans:
        return None
    start, end, content = max(spans, key=lambda span: (span[1], -span[0]))
    if _has_digit(text[end:]) or (_has_digit(text) and not _has_digit(content)):
        return None
    return _with_denial(text, start, end, content)


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
            found = _CLOSING[closing].search(text, len(opening))
            content = text[len(opening) : found.start()] if found else ""
            if found and content.strip() and (opening != "$" or _is_inline_mathematics(text, 0, found.end(), content)):
                return content.strip()
    return None


# --- the last number -------------------------------------------------------------------------------------------------

_NUMBER_TOKEN = re.compile(
    r"[(\[]?(?P<number>[-+−]?[$€£¥]?[-+−]?(?:(?:[0-9]{1,3}(?:,[0-9]{2,3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)(?:/[0-9]+)?"
    r"(?:\\?%)?)(?![0-9])"
    r"(?:[)\]]|[-/]?[^\W\d_]{2,}.*)?"
)
_RELATION = re.compile(r"[=≈>→]+")
_FOLLOWERS = frozenset({"%", r"\%", "percent", "hundred", "thousand", "million", "billion", "trillion", "dozen"})


def _find_last_number(text: str) -> str | None:
    tokens = text.translate(_TO_ASCII).split()
    for index in range(len(tokens) - 1, -1, -1):
        if _has_digit(tokens[index]):
            follower = tokens[index + 1].rstrip(".,;:!?*") if index + 1 < len(tokens) else ""
            value = _value_of_token(tokens[index]) + (f" {follower}" if follower.lower() in _FOLLOWERS else "")
            before = " ".join(tokens[max(0, index - WORDS_AROUND) : index])
            after = " ".join(tokens[index + 1 : index + WORDS_AROUND])
            if (other := another_before(before)) is not None:
                return f"{other} or {value}"
            return _with_denial(f"{before} {after}", len(before), len(before), value)
    return None


def _value_of_token(token: str) -> str:
    """The number in a word such as "a=26/day"; the word itself where the number is only a part of an expression."""
    part = next(part for part in reversed(_RELATION.split(token)) if _has_digit(part)).strip("*_`\"'.,;:!?~")
    match = _NUMBER_TOKEN.fullmatch(part)
    return match["number"].rstrip(",") if match else part


_TO_ASCII = str.maketrans("０１２３４５６７８９．，％－＋", "0123456789.,%-+")


def _has_digit(text: str) -> bool:
    return any("0" <= character <= "9" or "０" <= character <= "９" for character in text)


def _with_denial(text: str, start: int, end: int, value: str) -> str:
    """A value that stands from ``start`` to ``end``, with a "not" where the words around it deny it."""
    denied = denied_before(text[max(0, start - GAP_CHARACTERS) : start])
    return f"not {value}" if denied or denied_after(text[end : end + GAP_CHARACTERS]) else value
