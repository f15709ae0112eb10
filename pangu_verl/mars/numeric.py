"""Exact comparison of two written numbers: integers, decimals, fractions, mixed numbers, percentages, with units.

Invariant: arithmetic is on fractions, never on floats, and a text that is not plainly one number is None rather than a
guess. Expressions (powers, roots, sums, variables) are not evaluated here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

NUMBER_CHARACTERS = 200
ROUNDED_PLACES = 6


@dataclass(frozen=True, slots=True)
class Number:
    """``places`` counts the digits after a decimal point, and is None for an integer or a fraction."""

    value: Fraction
    places: int | None = None
    percent: bool = False

    def as_share(self) -> Number:
        """28% as 0.28."""
        return Number(self.value / 100, None if self.places is None else self.places + 2)


def numbers_agree(gold: Number, answer: Number) -> bool:
    """Equal in value. A percent sign on one side alone is read both ways, as a unit ("28" for 28%) and as a hundredth.

    A decimal with six places or more also agrees with what it correctly rounds: 0.333333 with 1/3, but 0.33 does not.
    """
    if _close(gold, answer):
        return True
    if gold.percent == answer.percent:
        return False
    return _close(gold.as_share(), answer) if gold.percent else _close(gold, answer.as_share())


def _close(left: Number, right: Number) -> bool:
    if left.value == right.value:
        return True
    places = min((number.places for number in (left, right) if number.places is not None), default=0)
    return places >= ROUNDED_PLACES and abs(left.value - right.value) * 2 * 10**places <= 1


# --- reading ---------------------------------------------------------------------------------------------------------

_SAME_MEANING = str.maketrans("−–－＋％．，（）０１２３４５６７８９\u00a0\u2009\u202f", "--" + "-+%.,()0123456789   ")
_SPACING = re.compile(r"\\(?:left|right)(?![a-zA-Z])|\\[()\[\]!]|\*\*|\$|\\\$|[€£¥₹]|\\phantom\{\}")
_THIN_SPACE = re.compile(r"\\[,;: ]|\\q?quad(?![a-zA-Z])|~")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|°|\\degree(?![a-zA-Z])")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textrm|textnormal|mathrm|mathbf)\s*\{([^{}]*)\}")
_LATEX_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{\s*([-+]?[0-9.,]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9.,]+)\s*\}|([0-9]))")

_DIGITS = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]{0,2}(?: [0-9]{3})+|[0-9]+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.(?P<places>[0-9]+)|\.)?|\.(?P<only_places>[0-9]+))(?:[eE][-+]?[0-9]{{1,3}})?"
_SIMPLE = rf"{_DIGITS}(?:\.[0-9]+)?"
_FRACTION = re.compile(
    rf"(?P<sign>[-+]?)\s*(?:(?P<whole>[0-9]{{1,20}})(?: +|(?=\()))?"
    rf"(?P<bracket>\()?(?P<inner>[-+]?)(?P<top>{_SIMPLE})\s*/\s*(?P<bottom>{_SIMPLE})(?(bracket)\))(?P<rest>.*)"
)
_NUMBER = re.compile(rf"(?P<sign>[-+]?)\s*(?P<number>{_DECIMAL})(?P<rest>.*)")


def read_number(text: str, *, bare_units: bool) -> Number | None:
    r"""The number that a text states. Units in ``\text{}`` are dropped; bare words only if ``bare_units``, because in a
    gold such as "6 xy" they may be variables.
    """
    if len(text) > NUMBER_CHARACTERS:
        return None
    units_allowed = bare_units or bool(_TEXT.search(text))
    plain = _plain(text)
    match = _FRACTION.fullmatch(plain)
    number = _fraction(match) if match else None
    if number is None:
        match = _NUMBER.fullmatch(plain)
        number = _decimal(match) if match else None
    if match is None or number is None:
        return None
    return _with_unit(number, match["rest"], units_allowed)


def _plain(text: str) -> str:
    text = text.translate(_SAME_MEANING).replace("{,}", ",").replace(r"\%", "%")
    text = _SPACING.sub("", _TEXT.sub(r" \1 ", text))
    text = _DEGREES.sub("", _THIN_SPACE.sub(" ", text))
    text = _LATEX_FRACTION.sub(lambda match: f"({match[1] or match[2]}/{match[3] or match[4]})", text)
    text = text.strip().rstrip(".").strip()
    bracketed = re.fullmatch(r"\(([^()]*)\)", text)
    return bracketed[1].strip() if bracketed else text


def _value(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").replace(" ", "").rstrip("."))


def _fraction(match: re.Match[str]) -> Number | None:
    bottom = _value(match["bottom"])
    if bottom == 0 or (match["whole"] and match["inner"]):
        return None
    value = _value(match["whole"] or "0") + _value(match["top"]) / bottom
    return Number(-value if (match["sign"] == "-") != (match["inner"] == "-") else value)


def _decimal(match: re.Match[str]) -> Number:
    value = _value(match["number"])
    places = match["places"] or match["only_places"]
    return Number(-value if match["sign"] == "-" else value, len(places) if places else None)


# --- units -----------------------------------------------------------------------------------------------------------

_MULTIPLIERS = {
    "dozen": 12,
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_NOT_UNITS = frozenset(
    [
        "pi",
        "sqrt",
        "root",
        "sin",
        "cos",
        "tan",
        "sec",
        "csc",
        "cot",
        "log",
        "ln",
        "exp",
        "mod",
        "modulo",
        "times",
        "plus",
        "minus",
        "over",
        "divided",
        "multiplied",
        "power",
        "factorial",
        "squared",
        "cubed",
        "choose",
        "point",
        "half",
        "halves",
        "third",
        "thirds",
        "quarter",
        "quarters",
        "fourths",
        "fifths",
        "sixths",
        "eighths",
        "tenths",
        "hundredths",
        "thousandths",
        "alpha",
        "beta",
        "theta",
        "infinity",
        "or",
        "and",
        "to",
        "not",
        "hundreds",
        "thousands",
        "millions",
    ]
)
_GLUED_UNITS = frozenset(
    [
        "mm",
        "cm",
        "dm",
        "km",
        "mg",
        "kg",
        "ml",
        "cl",
        "dl",
        "mph",
        "kph",
        "hz",
        "khz",
        "pm",
        "am",
        "ms",
        "min",
        "hr",
        "hrs",
        "sec",
        "ft",
        "mi",
        "lb",
        "lbs",
        "oz",
    ]
)
_UNIT = re.compile(r"[^\W\d_]{2,}(?:[\s/.-]+[^\W\d_]{2,})*[.²³]?(?:\s*\^\s*\{?[23]\}?)?")
_PERCENT = re.compile(r"%|percent(?:age)?\b|pct\b")


def _with_unit(number: Number, rest: str, units_allowed: bool) -> Number | None:
    glued = not rest.startswith(" ")
    rest = rest.strip()
    if not rest:
        return number
    if _PERCENT.fullmatch(rest):
        return Number(number.value, number.places, percent=True)
    words = re.findall(r"[^\W\d_]+", rest.lower())
    if not _UNIT.fullmatch(rest) or _NOT_UNITS.intersection(words):
        return None
    if words[0] in _MULTIPLIERS:
        return Number(number.value * _MULTIPLIERS[words[0]]) if units_allowed or len(words) == 1 else None
    return number if units_allowed and (not glued or words[0] in _GLUED_UNITS) else None
