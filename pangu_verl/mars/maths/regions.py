r"""Sets of real numbers: intervals, unions, inequalities in one variable, set builders, single points.

Invariant: a text is a region only if all of it was read as one. Regions whose ends all have values are compared as
sets (sorted, merged, points taken out); others piece by piece. Ends are strings here; the caller gives them values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from pangu_verl.mars.maths.matching import all_of
from pangu_verl.mars.maths.shapes import Relation, inside, is_label, relation, split_at

LEAST, MOST = "-oo", "oo"
End = Fraction | float

_OR = re.compile(r"\\(?:text|mbox|mathrm)\s*\{\s*,?\s*or\s*\}|(?<![a-zA-Z\\])or(?![a-zA-Z])|\\(?:lor|vee)(?![a-zA-Z])")
_AND = re.compile(
    r"\\(?:text|mbox|mathrm)\s*\{\s*,?\s*and\s*\}|(?<![a-zA-Z\\])and(?![a-zA-Z])|\\(?:land|wedge)(?![a-zA-Z])"
)
_LESS = re.compile(r"\\(?:setminus|backslash)(?![a-zA-Z])|(?<=[\])}])\s*-\s*(?=\\\{)")
_INFINITY = re.compile(r"\s*([-+]?)\s*(?:\\infty|\\infinity|inf(?:ty|inity)?|oo)\s*")
_ALL = re.compile(r"\\R|\\text\s*\{\s*all real numbers\s*\}|all real numbers", re.IGNORECASE)
_SYMBOL = re.compile(r"\\?[a-zA-Z]+(?:_\{?[^{}]{1,10}\}?)?")


@dataclass(frozen=True, slots=True)
class Piece:
    """From ``left`` to ``right``, each end in or out; a point has equal ends, both in."""

    left: str
    left_in: bool
    right: str
    right_in: bool


@dataclass(frozen=True, slots=True)
class Region:
    """Pieces, less some points. ``bare`` says that the text is one pair of round brackets, which could be a point."""

    pieces: tuple[Piece, ...]
    without: tuple[str, ...] = ()
    bare: bool = False

    @property
    def is_point(self) -> bool:
        return len(self.pieces) == 1 and self.pieces[0].left == self.pieces[0].right


def read_region(text: str) -> Region | None:
    """The region that a text is, or None."""
    text = _OR.sub(r" \\cup ", text).strip()
    belongs = relation(text)
    if belongs is not None and belongs.operators == ("in",) and is_label(belongs.sides[0]):
        return read_region(belongs.sides[1])
    whole, *taken = _LESS.split(text)
    without: list[str] = []
    for part in taken:
        points = inside(part, r"\{", r"\}")
        if points is None:
            return None
        without += split_at(points, {","})
    pieces: list[Piece] = []
    parts = split_at(whole, {r"\cup"})
    for part in parts:
        found = _pieces(part)
        if found is None:
            return None
        pieces += found
    return Region(tuple(pieces), tuple(without), bare=len(parts) == 1 and text.startswith("(") and text.endswith(")"))


def same_region(
    gold: Region, answer: Region, same: Callable[[str, str], bool | None], value: Callable[[str], Fraction | None]
) -> bool | None:
    """Whether two regions hold the same numbers."""
    first, second = _normal(gold, value), _normal(answer, value)
    if first is not None and second is not None and _same_intervals(first, second):
        return True
    if len(gold.pieces) != len(answer.pieces) or gold.without or answer.without:
        return None if first is None or second is None else False
    return all_of(_same_piece(*pair, same) for pair in zip(gold.pieces, answer.pieces, strict=True))


def _pieces(text: str) -> list[Piece] | None:
    text = text.strip()
    if _ALL.fullmatch(text):
        return [Piece(LEAST, False, MOST, False)]
    if text in (r"\emptyset", r"\varnothing"):
        return []
    content = inside(text, r"\{", r"\}")
    if content is not None:
        return _of_braces(content)
    for opening, closing in ("()", "(]", "[)", "[]"):
        content = inside(text, opening, closing)
        if content is not None:
            ends = split_at(content, {",", ";"})
            if len(ends) != 2 or not all(ends):
                return None
            return [Piece(_end(ends[0]), opening == "[", _end(ends[1]), closing == "]")]
    chains = [relation(part) for part in _AND.split(text)]
    found = [None if chain is None else _of_chain(chain) for chain in chains]
    if len(found) == 1:
        return found[0]
    return _between(found[0], found[1]) if len(found) == 2 else None


def _between(first: list[Piece] | None, second: list[Piece] | None) -> list[Piece] | None:
    """ "x > 1 and x < 3": from a lower to an upper end."""
    if not first or not second or len(first) != 1 or len(second) != 1:
        return None
    lower, upper = sorted((first[0], second[0]), key=lambda piece: piece.left == LEAST)
    if lower.right != MOST or upper.left != LEAST:
        return None
    return [Piece(lower.left, lower.left_in, upper.right, upper.right_in)]


def _of_braces(content: str) -> list[Piece] | None:
    builder = split_at(content.replace(r"\mid", "|").replace(r"\vert", "|"), {"|", ":"})
    if len(builder) == 2:
        region = read_region(builder[1])
        return list(region.pieces) if region is not None and not region.without else None
    return [Piece(point, True, point, True) for point in split_at(content, {",", ";"})]


def _of_chain(chain: Relation) -> list[Piece] | None:
    sides, operators = chain.sides, chain.operators
    if len(sides) == 2 and not _SYMBOL.fullmatch(sides[0]) and _SYMBOL.fullmatch(sides[1]):
        sides = sides[::-1]
        operators = tuple(_FLIPPED.get(operator, operator) for operator in operators)
    if len(sides) == 3 and set(operators) <= {">", ">="}:
        sides, operators = sides[::-1], tuple(_FLIPPED[operator] for operator in reversed(operators))
    if len(sides) == 3 and set(operators) <= {"<", "<="} and _SYMBOL.fullmatch(sides[1]):
        return [Piece(_end(sides[0]), operators[0] == "<=", _end(sides[2]), operators[1] == "<=")]
    if len(sides) != 2 or not _SYMBOL.fullmatch(sides[0]) or not sides[1]:
        return None
    end = _end(sides[1])
    return {
        "<": [Piece(LEAST, False, end, False)],
        "<=": [Piece(LEAST, False, end, True)],
        ">": [Piece(end, False, MOST, False)],
        ">=": [Piece(end, True, MOST, False)],
        "=": [Piece(end, True, end, True)],
        "!=": [Piece(LEAST, False, end, False), Piece(end, False, MOST, False)],
    }.get(operators[0])


_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _end(text: str) -> str:
    found = _INFINITY.fullmatch(text)
    return (LEAST if found[1] == "-" else MOST) if found else text.strip()


# --- regions with values ---------------------------------------------------------------------------------------------

_Interval = tuple[End, bool, End, bool]


def _normal(region: Region, value: Callable[[str], Fraction | None]) -> list[_Interval] | None:
    """Sorted and merged, None if an end has no value."""
    intervals: list[_Interval] = []
    for piece in region.pieces:
        left, right = _value(piece.left, value), _value(piece.right, value)
        if left is None or right is None:
            return None
        if left < right or (left == right and piece.left_in and piece.right_in):
            intervals.append((left, piece.left_in and left != -math.inf, right, piece.right_in and right != math.inf))
    points = [_value(point, value) for point in region.without]
    for point in points:
        if point is None:
            return None
        intervals = [part for interval in intervals for part in _without_point(interval, point)]
    return _merged(intervals)


def _value(end: str, value: Callable[[str], Fraction | None]) -> End | None:
    return {LEAST: -math.inf, MOST: math.inf}.get(end) or value(end)


def _without_point(interval: _Interval, point: End) -> list[_Interval]:
    left, left_in, right, right_in = interval
    if point < left or point > right:
        return [interval]
    parts = [(left, left_in, point, False), (point, False, right, right_in)]
    return [part for part in parts if part[0] < part[2]]


def _merged(intervals: list[_Interval]) -> list[_Interval]:
    merged: list[_Interval] = []
    for left, left_in, right, right_in in sorted(intervals, key=lambda interval: (interval[0], not interval[1])):
        if merged:
            last_left, last_left_in, last_right, last_right_in = merged[-1]
            if left < last_right or (left == last_right and (left_in or last_right_in)):
                end = max((last_right, last_right_in), (right, right_in))
                merged[-1] = (last_left, last_left_in, *end)
                continue
        merged.append((left, left_in, right, right_in))
    return merged


def _same_intervals(first: list[_Interval], second: list[_Interval]) -> bool:
    return len(first) == len(second) and all(map(_same_interval, first, second))


def _same_interval(one: _Interval, other: _Interval) -> bool:
    return (one[1], one[3]) == (other[1], other[3]) and _near(one[0], other[0]) and _near(one[2], other[2])


def _near(one: End, other: End) -> bool:
    if isinstance(one, float) or isinstance(other, float):  # an infinity
        return one == other
    return abs(one - other) <= abs(one) * Fraction(1, 10**20)


def _same_piece(gold: Piece, answer: Piece, same: Callable[[str, str], bool | None]) -> bool | None:
    if (gold.left_in, gold.right_in) != (answer.left_in, answer.right_in):
        return False
    findings = [
        True if one == other else None if {one, other} & {LEAST, MOST} else same(one, other)
        for one, other in ((gold.left, answer.left), (gold.right, answer.right))
    ]
    return all_of(findings)
