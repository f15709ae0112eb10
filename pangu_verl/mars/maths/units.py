"""What may stand behind a number: a unit, which is dropped, a percent sign, or a word that multiplies.

Invariant: a word that could be mathematics ("pi", "half", a product of variables) is never taken for a unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnitMeaning:
    """What the words behind a number do to it."""

    multiplier: int = 1
    percent: bool = False


_MULTIPLIERS = {
    "dozen": 12,
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_NOT_UNITS = frozenset({
    "pi", "sqrt", "root", "sin", "cos", "tan", "sec", "csc", "cot", "log", "ln", "exp", "mod", "modulo", "times",
    "plus", "minus", "over", "divided", "multiplied", "power", "factorial", "squared", "cubed", "choose", "point",
    "half", "halves", "third", "thirds", "quarter", "quarters", "fourths", "fifths", "sixths", "eighths", "tenths",
    "hundredths", "thousandths", "alpha", "beta", "theta", "infinity", "or", "and", "to", "not", "hundreds",
    "thousands", "millions",
})  # fmt: skip
_GLUED_UNITS = frozenset({
    "mm", "cm", "dm", "km", "mg", "kg", "ml", "cl", "dl", "mph", "kph", "hz", "khz", "pm", "am", "ms", "min", "hr",
    "hrs", "sec", "ft", "mi", "lb", "lbs", "oz",
})  # fmt: skip
_UNIT = re.compile(r"[^\W\d_]{2,}(?:[\s/.-]+[^\W\d_]{2,})*[.²³]?(?:\s*\^\s*\{?[23]\}?)?")
_PERCENT = re.compile(r"%|percent(?:age)?\b|pct\b")
_PLAIN_WORD = re.compile(r"(?=[a-z]*[aeiou])[a-z]{4,}")


def with_unit(rest: str, units_allowed: bool) -> UnitMeaning | None:
    """What ``rest``, the text behind a number, means; None where it is no unit.

    Without ``units_allowed`` only a word that no product of variables looks like is a unit.
    """
    glued = not rest.startswith(" ")
    rest = rest.strip()
    if not rest:
        return UnitMeaning()
    if _PERCENT.fullmatch(rest):
        return UnitMeaning(percent=True)
    words = re.findall(r"[^\W\d_]+", rest.lower())
    if not _UNIT.fullmatch(rest) or _NOT_UNITS.intersection(words):
        return None
    if words[0] in _MULTIPLIERS:
        return UnitMeaning(_MULTIPLIERS[words[0]]) if units_allowed or len(words) == 1 else None
    plainly_units = units_allowed or all(_PLAIN_WORD.fullmatch(word) for word in words)
    return UnitMeaning() if plainly_units and (not glued or words[0] in _GLUED_UNITS) else None
