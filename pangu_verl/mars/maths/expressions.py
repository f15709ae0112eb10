"""Comparing two formulas by their values at sample points, for use inside a killable child process only.

Invariant: equal means that the values agree wherever both are real, at three points or more: exactly where they are
rational, else to 25 digits. Unequal means that they differ at one. What cannot be read, or has too few such points, is
None. Points are fixed, so that a verdict is the same each time. Unlike simplification, sampling needs no luck.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from latex2sympy2_extended import NormalizationConfig, latex2sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from sympy import E, Expr, Float, I, Integer, Rational, Symbol, nan, oo, pi, zoo

from pangu_verl.mars.maths.numeric import Number

DIGITS = 40
TOLERANCE = Fraction(1, 10**25)
LEAST_POINTS = 3
MOST_POWER = 10**4

_NORMALIZATION = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True)
_CONVERSION = ConversionConfig(lowercase_symbols=False)
_RATIO = re.compile(r"(?<=[^:]):(?=[^:])")
_PERCENT = re.compile(r"\\?%")
_UNREAD_TEXT = re.compile(r"\\(?:text|mbox|mathrm|operatorname)\s*\{|\\cdots|\\ldots|\\dots|\\begin|\\infty")
_UPRIGHT = re.compile(r"\\(?:mathrm|operatorname|text)\s*\{\s*([a-zA-Z])\s*\}")
#: Small and large, positive and negative; the denominators are primes, so that no formula favours them.
_POINTS = (
    [(7 * step + 3, 101) for step in range(1, 13)],
    [(29 * step + 17, 23) for step in range(1, 13)],
    [(13 * step + 5, 211) for step in range(12, 0, -1)],
    [(-11 * step - 2, 97) for step in range(1, 13)],
    [((-1) ** step * (17 * step + 8), 31) for step in range(1, 13)],
    [((-1) ** (step + 1) * (19 * step + 1), 13) for step in range(1, 13)],
)
_INTEGER_POINTS = tuple([start + 2 * step for step in range(12)] for start in range(1, 7))


class Sample(NamedTuple):
    """The value of a formula at a point."""

    value: Fraction
    is_exact: bool

    def over(self, other: Sample) -> Sample:
        return Sample(self.value / other.value, self.is_exact and other.is_exact)


def same(left: str, right: str) -> bool | None:
    """Whether two formulas are equal wherever both are real."""
    first, second = read(left), read(right)
    if first is None or second is None:
        return None
    return _agree(first, second)


def same_equation(left: tuple[str, str], right: tuple[str, str]) -> bool | None:
    """Whether two equations say the same up to swapped sides and a constant factor."""
    first, second = _difference(*left), _difference(*right)
    if first is None or second is None:
        return None
    if first.free_symbols != second.free_symbols or first == 0 or second == 0:
        return None
    ratio: Sample | None = None
    num_points = 0
    for one, other in _values(first, second):
        if one is None or other is None:
            continue
        if other.value == 0 or one.value == 0:
            return None
        if ratio is not None and not _close(one.over(other), ratio):
            return False
        ratio = one.over(other)
        num_points += 1
    return True if num_points >= LEAST_POINTS else None


def solves(equation: tuple[str, str], answer: str) -> bool | None:
    """Whether an equation holds identically once its one symbol that the answer lacks is replaced by the answer."""
    left, right, value = read(equation[0]), read(equation[1]), read(answer)
    if left is None or right is None or value is None:
        return None
    lacking = (left.free_symbols | right.free_symbols) - value.free_symbols
    if len(lacking) != 1 or not value.free_symbols:
        return None
    symbol = lacking.pop()
    return _agree(left.xreplace({symbol: value}), right.xreplace({symbol: value}))


def value_of(text: str) -> Number | None:
    """The value of a formula without variables, to 40 digits."""
    expression = read(text)
    if expression is None or expression.free_symbols:
        return None
    value = _real_value(expression)
    return None if value is None else Number(value.value, irrational=not value.is_exact)


def degrees_as_formula(text: str) -> str:
    """A text in degrees as one in radians."""
    return rf"({text}) \times \frac{{\pi}}{{180}}"


@lru_cache(maxsize=256)
def read(text: str) -> Any | None:
    """The formula as sympy's expression with exact numbers, or None."""
    text = _UPRIGHT.sub(r"{\1}", _PERCENT.sub(r" \\times \\frac{1}{100}", text)).strip()
    if not text or _UNREAD_TEXT.search(text):
        return None
    try:
        expression = latex2sympy(
            _RATIO.sub(r" \\div ", text), normalization_config=_NORMALIZATION, conversion_config=_CONVERSION
        )
        if not isinstance(expression, Expr) or expression.has(oo, zoo, nan):
            return None
        constants = {Symbol("i"): I, Symbol("e"): E, Symbol("pi"): pi}
        exact = {number: Rational(str(number)) for number in expression.atoms(Float)}
        return expression.xreplace(exact | constants)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # noqa: BLE001 - the parser raises plain Exception for what it cannot read
        return None


def _difference(left: str, right: str) -> Any | None:
    first, second = read(left), read(right)
    return None if first is None or second is None else first - second


def _agree(first: Any, second: Any) -> bool | None:
    if first == second:
        return True
    num_points = 0
    symbols = first.free_symbols | second.free_symbols
    for one, other in _values(first, second):
        if one is None or other is None:
            continue
        if not _close(one, other):
            return False
        num_points += 1
    return True if num_points >= (LEAST_POINTS if symbols else 1) else None


def _values(first: Any, second: Any) -> Iterator[tuple[Sample | None, Sample | None]]:
    """Values of two expressions at each point; at integers instead where they are real at too few others."""
    symbols = sorted(first.free_symbols | second.free_symbols, key=lambda symbol: symbol.name)
    if not symbols:
        yield _real_value(first), _real_value(second)
        return
    num_real = 0
    for point in _POINTS:
        at = {symbol: Rational(*point[index % 12]) for index, symbol in enumerate(symbols)}
        pair = _real_value(first.xreplace(at)), _real_value(second.xreplace(at))
        num_real += None not in pair
        yield pair
    if num_real >= LEAST_POINTS:
        return
    for numbers in _INTEGER_POINTS:
        at = {symbol: Integer(numbers[index % 12]) for index, symbol in enumerate(symbols)}
        yield _real_value(first.xreplace(at)), _real_value(second.xreplace(at))


def _real_value(expression: Any) -> Sample | None:
    """The value, exact if it is rational; of a number with an imaginary part of nothing the real part alone."""
    if expression.is_rational and (exact := expression.doit()).is_Rational:
        return Sample(Fraction(int(exact.p), int(exact.q)), True)
    value = expression.evalf(DIGITS, maxn=4 * DIGITS)
    real, imaginary = value.as_real_imag()
    if not (real.is_Float or real.is_Rational) or not (imaginary == 0 or abs(imaginary) < TOLERANCE):
        return None
    if not real.is_finite or abs(real) > Integer(10) ** MOST_POWER:
        return None
    number = real if real.is_Rational else Rational(str(real))
    return Sample(Fraction(int(number.p), int(number.q)), False)


def _close(one: Sample, other: Sample) -> bool:
    if one.is_exact and other.is_exact:
        return one.value == other.value
    return abs(one.value - other.value) <= TOLERANCE * max(abs(one.value), abs(other.value), TOLERANCE)
