"""Splitting an answer into its parts: lists, brackets, relations, labels, units and qualifying clauses.

Invariant: brackets are never split, and what is not understood stays one piece. All functions take text that
``repair.mended`` returned. Whether two parts are equal is decided elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_PARTS = 40

_OPENING, _CLOSING = "([{", ")]}"
_TOKEN = re.compile(r"\\begin\{[a-zA-Z*]+\}|\\end\{[a-zA-Z*]+\}|\\[a-zA-Z]+|\\.|.", re.DOTALL)
_WORD_JOIN = re.compile(
    r"\\(?:text|mbox|textrm|mathrm)\s*\{\s*,?\s*(and|or)\s*,?\s*\}|(?<![a-zA-Z\\])(and|or)(?![a-zA-Z])"
    r"|(?<=[0-9)])(and|or)(?=[a-zA-Z(])|(?P<kept>\\(?:text|mbox|textrm|mathrm)\s*\{[^{}]*\})",
    re.IGNORECASE,
)
_RELATIONS = {"=": "=", "<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\in": "in", r"\approx": "~"}
_TEXT = r"\\(?:text|mbox|textrm|textnormal|mathrm)\s*\{[^{}]*\}"
_CLAUSE = re.compile(
    r"[\s,(]*(?:\\(?:text|mbox|textrm|mathrm)\s*\{\s*,?\s*|(?<![a-zA-Z\\]))\(?"
    r"(?:where|for\s+(?:all|any|some|every|each|real|integers?)|with|if|when(?:ever)?)(?![a-zA-Z]).*$",
    re.IGNORECASE | re.DOTALL,
)
_MEMBERSHIP_CLAUSE = re.compile(
    r"[\s,]*[(,]?\s*[a-zA-Z]\s*\\in\s*(?:\\(?:mathbb|mathbf)?\s*\{?\s*[ZNQRC]\s*\}?\^?[+*]?)\s*\)?\s*$"
)
_CONDITION = re.compile(r",\s*\(?\s*[a-zA-Z]\s*\\ne\s*[^,()]{1,20}\)?$")
_INEQUALITY = re.compile(r"[<>]|\\(?:le|ge|ne|in)(?![a-zA-Z])")
_UNIT = re.compile(rf"(?:\s*/?\s*{_TEXT}\s*(?:\^\s*\{{?\s*-?[0-9]\s*\}}?)?)+\s*$")
_CONSTANT = re.compile(r"\{\s*(?:[eidxyzknmt]|\\?pi)\s*\}\s*$")
_LEAD = re.compile(rf"^\s*(?:{_TEXT}|only|either|both)\s*(?=\S)", re.IGNORECASE)
_SAYS_MORE = re.compile(
    r"\b(?:or|nor|not|than|least|most|below|above|under|over|between|but|except|no|never|wrong|incorrect|false|maybe"
    r"|perhaps|possibly)\b",
    re.IGNORECASE,
)
_CASE = re.compile(r"(?<![a-zA-Z\\])(?:if|when|otherwise|else)(?![a-zA-Z])", re.IGNORECASE)
_NAME = re.compile(r"^\s*(?:\\text\s*\{)?\s*([A-Za-z][A-Za-z' -]*(?:\s[0-9]{1,3})?)\s*\}?\s*:\s*(?=\S)")
_LABEL = re.compile(
    r"^\s*(?:\\?[a-zA-Z]+'*(?:_\{?[^{}=]{1,20}\}?)?\s*(?:\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])*\s*\))?"
    r"|[A-Za-z][A-Za-z ]{2,40})\s*$"
)


@dataclass(frozen=True, slots=True)
class Relation:
    """Sides with an operator between each two: ``1 < x <= 2`` has three sides and ("<", "<=")."""

    sides: tuple[str, ...]
    operators: tuple[str, ...]


def split_list(text: str) -> list[str]:
    """The members of a bare list, split at top level by commas, semicolons, "and" and "or"."""
    text = _WORD_JOIN.sub(lambda match: match["kept"] or ",", text)
    return [part for part in _split(text, {",", ";"}) if part]


def split_at(text: str, separators: set[str]) -> list[str]:
    """Parts of a text between separators that stand outside all brackets."""
    return _split(text, separators)


def inside(text: str, opening: str, closing: str) -> str | None:
    """The content where one pair of brackets, ``opening`` and ``closing``, encloses the whole text."""
    text = text.strip()
    if not (text.startswith(opening) and text.endswith(closing)) or len(text) < len(opening) + len(closing):
        return None
    depth = 0
    tokens = _TOKEN.findall(text)
    for index, token in enumerate(tokens):
        depth += _depth_step(token)
        if depth == 0:
            return text[len(opening) : -len(closing)].strip() if index == len(tokens) - 1 else None
    return None


def is_half_open(text: str) -> bool:
    """Whether a text begins and ends with brackets of two kinds, as only an interval does."""
    return (text.strip()[:1], text.strip()[-1:]) in (("[", ")"), ("(", "]"))


def relation(text: str) -> Relation | None:
    """The text as sides of relations, or None where it has no relation outside brackets."""
    sides: list[str] = []
    operators: list[str] = []
    current: list[str] = []
    depth = 0
    for token in _TOKEN.findall(text):
        depth += _depth_step(token)
        if depth == 0 and token in _RELATIONS:
            sides.append("".join(current).strip())
            operators.append(_RELATIONS[token])
            current = []
        else:
            current.append(token)
    if not operators:
        return None
    return Relation((*sides, "".join(current).strip()), tuple(operators))


def is_label(text: str) -> bool:
    """A name for a value: ``x``, ``f(x)``, ``a_{n}``, "Maximum"."""
    return bool(_LABEL.match(text))


def without_clause(text: str) -> str:
    """Without a trailing "where ...", "for all ..." or "k in Z", which says what the letters are."""
    shorter = _MEMBERSHIP_CLAUSE.sub("", _CLAUSE.sub("", text)).strip().rstrip(",.").strip()
    condition = _CONDITION.search(shorter)
    if condition is not None and not _INEQUALITY.search(shorter[: condition.start()]):
        shorter = shorter[: condition.start()].strip()
    return shorter or text


def without_unit(text: str) -> str:
    r"""Without a unit in ``\text{}`` at the end, unless it may be a constant or a variable, or says more."""
    found = _UNIT.search(text)
    if found is None or found.start() == 0 or _CONSTANT.search(found[0]) or _SAYS_MORE.search(found[0]):
        return text
    return text[: found.start()].strip()


def without_lead(text: str) -> str:
    r"""Without a word in ``\text{}`` before the value ("only"), unless it narrows or denies ("less than")."""
    return _LEAD.sub(lambda match: match[0] if _SAYS_MORE.search(match[0]) else "", text, count=1)


def says_more(text: str) -> bool:
    r"""Whether words in ``\text{}`` narrow, deny or add to what a text states."""
    return any(_SAYS_MORE.search(words) for words in re.findall(_TEXT, text))


def num_cases(text: str) -> int:
    """How many conditions a text makes: two for "5 if n is even, 6 if n is odd"."""
    return len(_CASE.findall(text))


def named(text: str) -> tuple[str | None, str]:
    """Name and value of "Paolo: 18"; no name where there is none."""
    found = _NAME.match(text)
    return (found[1].strip().casefold(), text[found.end() :].strip()) if found else (None, text)


def signs_expanded(text: str) -> list[str]:
    r"""Both values of a text with ``\pm``; the text alone without it."""
    if not re.search(r"\\(?:pm|mp)(?![a-zA-Z])", text):
        return [text]
    values = []
    for plus, minus in (("+", "-"), ("-", "+")):
        value = re.sub(r"\\mp(?![a-zA-Z])", minus, re.sub(r"\\pm(?![a-zA-Z])", plus, text)).strip()
        values.append(value.removeprefix("+").strip())
    return values


def matrix_rows(text: str) -> list[list[str]] | None:
    r"""The cells of one ``\begin{pmatrix}`` (or b, v, plain, array) that is the whole text."""
    found = re.fullmatch(
        r"\\begin\{([pbvB]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}", text.strip().strip("()").strip(), re.DOTALL
    )
    if found is None or r"\begin" in found[2]:
        return None
    rows = [row for row in re.split(r"\\\\|\\cr(?![a-zA-Z])", found[2]) if row.strip()]
    return [[cell.strip() for cell in row.split("&")] for row in rows]


def _split(text: str, separators: set[str]) -> list[str]:
    parts: list[str] = []
    current: list[str] = []
    depth = 0
    for token in _TOKEN.findall(text):
        depth += _depth_step(token)
        if depth == 0 and token in separators:
            parts.append("".join(current).strip())
            current = []
        else:
            current.append(token)
    return [*parts, "".join(current).strip()]


def _depth_step(token: str) -> int:
    if token in (r"\{", *_OPENING) or token.startswith(r"\begin{"):
        return 1
    if token in (r"\}", *_CLOSING) or token.startswith(r"\end{"):
        return -1
    return 0
