"""Reading one part of an answer as a bare value: what surrounds it is dropped, and its number is found.

For use inside a killable child process only, because a formula's value may take any time.
"""

from __future__ import annotations

import re
from fractions import Fraction

from pangu_verl.mars.literal import as_word
from pangu_verl.mars.maths import expressions, shapes
from pangu_verl.mars.maths.numeric import Number, read_number
from pangu_verl.mars.maths.words import number_in_words

BRACKETS = (("(", ")"), ("[", "]"), ("(", "]"), ("[", ")"))

_DELIMITER = re.compile(r"\\[\[\]()]")


def bare(text: str) -> str:
    """Without the dollar signs, the clause, the lead and the unit around a value."""
    text = text.replace(r"\$", "").replace("$", " ").strip()
    if r"\begin" not in text:
        text = _DELIMITER.sub(" ", text)
    return shapes.without_unit(shapes.without_lead(shapes.without_clause(text))).strip().rstrip(".").strip()


def number_of(text: str) -> Number | None:
    """A number written as such, or in words."""
    number = read_number(text, bare_units=False)
    if number is not None:
        return number
    word = as_word(text)
    return number_in_words(word) if word is not None else None


def value_of(text: str) -> Number | None:
    """A number, or the value of a formula without variables."""
    return number_of(text) or expressions.value_of(text)


def exact_value(text: str) -> Fraction | None:
    number = value_of(text)
    return None if number is None else number.value


def is_value(text: str) -> bool:
    return number_of(text) is not None or expressions.read(text) is not None


def bracketed(text: str) -> str | None:
    """The content of the round or square brackets around a whole text."""
    return next((found for pair in BRACKETS if (found := shapes.inside(text, *pair)) is not None), None)


def coordinates(text: str) -> list[str] | None:
    """The parts of a tuple, two or more."""
    content = bracketed(text)
    parts = shapes.split_at(content, {",", ";"}) if content is not None else []
    return parts if len(parts) > 1 else None


def ascending(text: str) -> shapes.Relation | None:
    """A chain of inequalities, written with "<" alone."""
    found = shapes.relation(text)
    if found is None:
        return None
    if set(found.operators) <= {"<", "<="}:
        return found
    if set(found.operators) <= {">", ">="}:
        flipped = tuple(operator.replace(">", "<") for operator in reversed(found.operators))
        return shapes.Relation(found.sides[::-1], flipped)
    return None
