"""When a rounded number is right: by the precision that the question asks for, else by what rounding loses.

Invariant: only a correct rounding agrees, and an integer gold, or a gold that ends after one decimal, is exact. The
bounds without a request in the question are project defaults: three significant digits for a gold that is itself a
decimal with two places or more (most such golds are rounded), four for an exact gold without a finite decimal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from pangu_verl.mars.maths.numeric import Number, numbers_agree, readings

DECIMAL_GOLD_DIGITS = 3
EXACT_GOLD_DIGITS = 4
DECIMAL_GOLD_PLACES = 2
#: What a rounding may lose of a decimal gold.
DECIMAL_NEARNESS = Fraction(1, 500)
#: An integer in place of a decimal is more often another count than a rounding, so it has to be nearer than digits ask.
INTEGER_NEARNESS = Fraction(1, 2000)
SEARCHED_CHARACTERS = 4_000

_WORDS = {"no": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
_PLACES = re.compile(r"\b([0-9]|" + "|".join(_WORDS) + r")[\s-]+(?:decimals?\b|d\.p\.|digits? after the decimal)", re.I)
_NEAREST = re.compile(
    r"(?:nearest|closest)\s+(?:\\text\{)?\$?(integer|whole|unit|dollar|percent|tenth|hundredth|thousandth|cent\b"
    r"|0\.0*1(?![0-9]))",
    re.I,
)
_NAMED_PLACES = {"tenth": 1, "hundredth": 2, "thousandth": 3, "cent": 2}
_SIGNIFICANT = re.compile(r"\b([0-9]|" + "|".join(_WORDS) + r")[\s-]+significant", re.I)
_MONEY = re.compile(
    r"\\\$|\bdollars?\b|\bcents?\b|[€£¥]|\beuros?\b|\brubles?\b|\brupees?\b|\bRs\b|\$[0-9][0-9.,]*\s+(?!\\)[a-z]{2}",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a question says of its answer: decimal places or significant digits, and whether it is about money."""

    places: int | None = None
    digits: int | None = None
    money: bool = False


def request_of(question: str) -> Request:
    """The last precision that a question asks for."""
    text = question[-SEARCHED_CHARACTERS:]
    found: list[tuple[int, int]] = [(match.start(), _count(match[1])) for match in _PLACES.finditer(text)]
    for match in _NEAREST.finditer(text):
        name = match[1].lower()
        found.append((match.start(), len(name) - 2 if name[0] == "0" else _NAMED_PLACES.get(name, 0)))
    digits = [_count(match[1]) for match in _SIGNIFICANT.finditer(text)]
    return Request(max(found)[1] if found else None, digits[-1] if digits else None, bool(_MONEY.search(text)))


def numbers_match(gold: Number, answer: Number, request: Request) -> bool:
    """Equal, or one is what the other rounds to, as far as the question lets it."""
    return numbers_agree(gold, answer) or any(_rounds(*reading, request) for reading in readings(gold, answer))


def _rounds(gold: Number, answer: Number, request: Request) -> bool:
    if request.places is not None:
        return _rounds_as_asked(gold, answer, request.places)
    if request.digits is not None and _significant_digits(answer) == request.digits and not _is_exact_end(gold):
        return _is_rounding(gold.value, answer)
    if (gold.places or 0) >= DECIMAL_GOLD_PLACES and _significant_digits(gold) >= DECIMAL_GOLD_DIGITS:
        if _is_finer(answer, gold):
            return _is_rounding(answer.value, gold)
        return not request.money and _is_coarse_rounding(gold, answer)
    if gold.places is None and not _is_exact_end(gold) and (answer.places or 0) >= DECIMAL_GOLD_PLACES:
        return _significant_digits(answer) >= EXACT_GOLD_DIGITS and _is_rounding(gold.value, answer)
    return False


def _rounds_as_asked(gold: Number, answer: Number, places: int) -> bool:
    if (answer.places or 0) == places and (answer.places is not None or answer.value.denominator == 1):
        gold_is_finer = gold.places is not None and gold.places > places
        return (gold_is_finer or (gold.places is None and not _is_integer(gold))) and _is_rounding(gold.value, answer)
    if gold.places is None and not _is_exact_end(gold) and (answer.places or 0) > places > 0:
        return _is_rounding(gold.value, answer)
    return places > 0 and gold.places == places and _is_finer(answer, gold) and _is_rounding(answer.value, gold)


def _is_coarse_rounding(gold: Number, answer: Number) -> bool:
    if not _is_rounding(gold.value, answer) or _significant_digits(answer) < DECIMAL_GOLD_DIGITS:
        return False
    if answer.places is None and not _is_integer(answer):
        return False
    nearness = INTEGER_NEARNESS if answer.places is None else DECIMAL_NEARNESS
    return abs(gold.value - answer.value) <= nearness * abs(gold.value)


def _is_rounding(exact: Fraction, rounded: Number) -> bool:
    unit = Fraction(1, 10 ** (rounded.places or 0))
    return abs(exact - rounded.value) * 2 <= unit


def _is_finer(number: Number, other: Number) -> bool:
    """Written with more decimals, or exact and not finite at the other's places."""
    if number.places is not None:
        return number.places > (other.places or 0)
    return not _is_integer(number)


def _is_integer(number: Number) -> bool:
    return number.value.denominator == 1 and not number.irrational


def _is_exact_end(number: Number) -> bool:
    """An integer, or a fraction whose decimal ends: to be matched exactly."""
    if number.irrational or number.places is not None:
        return False
    bottom = number.value.denominator
    for prime in (2, 5):
        while bottom % prime == 0:
            bottom //= prime
    return bottom == 1


def _significant_digits(number: Number) -> int:
    scaled = abs(number.value) * 10 ** (number.places or 0)
    return len(str(int(scaled))) if scaled else 0


def _count(text: str) -> int:
    return int(text) if text.isdigit() else _WORDS[text.lower()]
