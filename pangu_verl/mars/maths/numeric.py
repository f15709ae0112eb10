"""Exact comparison of two written numbers: integers, decimals, fractions, mixed numbers, percentages, with units.

Invariant: arithmetic is on fractions, never on floats, and a text that is not plainly one number is None rather than a
guess. Expressions (powers, roots, sums, variables) are not evaluated here; rounding is judged in ``maths.precision``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from pangu_verl.mars.maths.units import with_unit

NUMBER_CHARACTERS = 200
ROUNDED_PLACES = 6


@dataclass(frozen=True, slots=True)
class Number:
    """``places`` counts the digits after a decimal point, and is None for an integer or a fraction.

    ``irrational`` marks a value that a fraction only comes near.
    """

    value: Fraction
    places: int | None = None
    percent: bool = False
    irrational: bool = False

    def as_share(self) -> Number:
        """28% as 0.28."""
        return Number(self.value / 100, None if self.places is None else self.places + 2, irrational=self.irrational)


def numbers_agree(gold: Number, answer: Number) -> bool:
    """Equal in value, in one of their ``readings``.

    A decimal with six places or more also agrees with what it correctly rounds: 0.333333 with 1/3, but 0.33 does not.
    """
    return any(_close(*reading) for reading in readings(gold, answer))


def readings(gold: Number, answer: Number) -> Iterator[tuple[Number, Number]]:
    """A percent sign on one side alone is read both ways, as a unit ("28" for 28%) and as a hundredth."""
    yield gold, answer
    if gold.percent != answer.percent:
        yield (gold.as_share(), answer) if gold.percent else (gold, answer.as_share())


def _close(left: Number, right: Number) -> bool:
    if left.value == right.value:
        return True
    places = min((number.places for number in (left, right) if number.places is not None), default=0)
    return places >= ROUNDED_PLACES and abs(left.value - right.value) * 2 * 10**places <= 1


# --- reading ---------------------------------------------------------------------------------------------------------

_SAME_MEANING = str.maketrans("−–－＋％．，（）０１２３４５６７８９\u00a0\u2009\u202f", "--" + "-+%.,()0123456789   ")
_SPACING = re.compile(r"\\(?:left|right)(?![a-zA-Z])|\\[()\[\]!]|\*\*|\$|\\\$|[€£¥₹]|\\phantom\{\}")
_BRACED_COMMA = re.compile(r"(?<=[0-9])\s?\{\s?,\s?\}\s?(?=[0-9])|(?<=[0-9]),\s?\\!\s?(?=[0-9])")
_THIN_SPACE = re.compile(r"\\[,;: ]|\\q?quad(?![a-zA-Z])|~")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|°|\\degree(?![a-zA-Z])")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textrm|textnormal|mathrm|mathbf)\s*\{([^{}]*)\}")
_LATEX_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{\s*([-+]?[0-9.,]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9.,]+)\s*\}|([0-9]))")

_ORDINAL = re.compile(
    r"(?<=[0-9])(?:st|nd|rd|th)(?![a-z])|(?<=[0-9])\s*\^\s*\{?\s*\\?(?:text)?\{?(?:st|nd|rd|th)\}{1,2}"
)
_SCIENTIFIC = re.compile(
    r"([0-9])\s*(?:\\times(?![a-zA-Z])|\\cdot(?![a-zA-Z])|×|·|\*|x)\s*10\s*\^\s*[{(]?\s*([-+]?[0-9]{1,3})(?![0-9])\s*[})]?"
)
_ONE_LETTER_UNITS = {
    "m": "metres", "g": "grams", "s": "seconds", "h": "hours", "L": "litres", "l": "litres", "N": "newtons",
    "J": "joules", "W": "watts", "V": "volts", "A": "amperes", "K": "kelvins", "C": "celsius", "F": "fahrenheit",
}  # fmt: skip

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
    plain = _plain(text)
    units_allowed = bare_units or bool(_TEXT.search(text)) or bool(_ORDINAL.search(text))
    match = _FRACTION.fullmatch(plain)
    number = _fraction(match) if match else None
    if number is None:
        match = _NUMBER.fullmatch(plain)
        number = _decimal(match) if match else None
    if match is None or number is None:
        return None
    meaning = with_unit(match["rest"], units_allowed)
    if meaning is None:
        return None
    if meaning.multiplier != 1:
        return Number(number.value * meaning.multiplier)
    return Number(number.value, number.places, percent=meaning.percent)


def _plain(text: str) -> str:
    text = text.translate(_SAME_MEANING).replace(r"\%", "%")
    text = _BRACED_COMMA.sub(",", text)
    text = _SPACING.sub("", _TEXT.sub(_spelled_unit, text))
    text = _DEGREES.sub("", _THIN_SPACE.sub(" ", text))
    text = _LATEX_FRACTION.sub(lambda match: f"({match[1] or match[2]}/{match[3] or match[4]})", text)
    text = _SCIENTIFIC.sub(r"\1e\2", _ORDINAL.sub("", text))
    text = text.strip().rstrip(".").strip()
    bracketed = re.fullmatch(r"\(([^()]*)\)", text)
    return bracketed[1].strip() if bracketed else text


def _spelled_unit(match: re.Match[str]) -> str:
    return f" {_ONE_LETTER_UNITS.get(match[1].strip(), match[1])} "


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
