"""Right answers and the same answers made wrong, as hypothesis strategies for the property tests.

Invariant: each of ``wrong`` differs from ``right`` in value, whatever was drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import strategies as st


@dataclass(frozen=True, slots=True)
class MadeAnswer:
    """``kind`` says which formats leave its meaning as it is: "integer", "decimal", "fraction" or "formula"."""

    kind: str
    right: str
    wrong: tuple[str, ...]


@st.composite
def integers(draw: st.DrawFn) -> MadeAnswer:
    number = draw(st.integers(-(10**9), 10**9).filter(bool))
    return MadeAnswer("integer", f"{number}", (f"{number + 1}", f"{-number}", f"{number}1", f"{number}.5"))


@st.composite
def decimals(draw: st.DrawFn) -> MadeAnswer:
    whole, tenths = draw(st.integers(-999, 999).filter(bool)), draw(st.integers(1, 9))
    return MadeAnswer(
        "decimal", f"{whole}.{tenths}", (f"{whole + 1}.{tenths}", f"{-whole}.{tenths}", f"{whole}.0{tenths}")
    )


@st.composite
def fractions(draw: st.DrawFn) -> MadeAnswer:
    value = draw(st.fractions(max_denominator=500).filter(lambda value: value.denominator > 1 and abs(value) < 1000))
    return MadeAnswer("fraction", _fraction(value), (_fraction(value + 1), _fraction(-value), f"{value.numerator}"))


def _fraction(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


@st.composite
def powers(draw: st.DrawFn) -> MadeAnswer:
    base, exponent = draw(st.integers(2, 20)), draw(st.integers(2, 12))
    return MadeAnswer(
        "formula",
        f"{base}^{{{exponent}}}",
        (f"{base + 1}^{{{exponent}}}", f"{base}^{{{exponent + 1}}}", f"-{base}^{{{exponent}}}", f"{base}"),
    )


@st.composite
def radicals(draw: st.DrawFn) -> MadeAnswer:
    factor = draw(st.integers(2, 50))
    under = draw(st.integers(2, 200).filter(lambda number: math.isqrt(number) ** 2 != number))
    return MadeAnswer(
        "formula",
        rf"{factor}\sqrt{{{under}}}",
        (
            rf"{factor + 1}\sqrt{{{under}}}",
            rf"{factor}\sqrt{{{under + 1}}}",
            rf"-{factor}\sqrt{{{under}}}",
            f"{factor}",
        ),
    )


@st.composite
def tuples(draw: st.DrawFn) -> MadeAnswer:
    members = draw(st.lists(st.integers(-99, 99), min_size=2, max_size=4, unique=True))
    others = [members[::-1], members[:-1] if len(members) > 2 else [*members, 100], [members[0] + 100, *members[1:]]]
    return MadeAnswer("formula", _listed("(", members, ")"), tuple(_listed("(", other, ")") for other in others))


@st.composite
def intervals(draw: st.DrawFn) -> MadeAnswer:
    left = draw(st.integers(-99, 99))
    ends = [left, left + draw(st.integers(1, 50))]
    opening, closing = draw(st.sampled_from([("[", ")"), ("(", "]"), ("[", "]")]))
    wider = [ends[0], ends[1] + 1]
    flipped = {"[": "(", "(": "[", "]": ")", ")": "]"}
    wrong = (
        _listed(opening, wider, closing),
        _listed(flipped[opening], ends, closing),
        _listed(opening, ends, flipped[closing]),
        f"{ends[1]}",
    )
    return MadeAnswer("formula", _listed(opening, ends, closing), wrong)


@st.composite
def sets(draw: st.DrawFn) -> MadeAnswer:
    members = draw(st.lists(st.integers(-99, 99), min_size=2, max_size=5, unique=True))
    others = [members[:-1], [*members, 100], [100, *members[1:]]]
    return MadeAnswer(
        "formula", _listed(r"\{", members, r"\}"), tuple(_listed(r"\{", other, r"\}") for other in others)
    )


@st.composite
def polynomials(draw: st.DrawFn) -> MadeAnswer:
    a, b, c = (draw(st.integers(2, 30)) for _ in range(3))
    return MadeAnswer(
        "formula",
        f"{a}x^2 + {b}x - {c}",
        (f"{a + 1}x^2 + {b}x - {c}", f"{a}x^2 - {b}x - {c}", f"{a}x^2 + {b}x + {c}", f"{a}x^2 + {b}x", f"{a}"),
    )


def maths_answers() -> st.SearchStrategy[MadeAnswer]:
    return st.one_of(
        integers(), decimals(), fractions(), powers(), radicals(), tuples(), intervals(), sets(), polynomials()
    )


def _listed(opening: str, members: list[int], closing: str) -> str:
    return opening + ", ".join(map(str, members)) + closing
