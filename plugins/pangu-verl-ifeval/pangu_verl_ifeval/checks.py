"""Reading a row's checks: which family each names, and its arguments, held against the family's signature.

Invariant: a check is either bound whole, with values of the types that its family asks for, or refused by a
``CannotJudge`` that names it. Null means absent, as in IFEval's data; whole floats and arrays are taken for integers
and lists, because that is what parquet makes of them.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pangu_verl_ifeval.families import FAMILIES
from pangu_verl_ifeval.families.relation import RELATIONS, Relation
from pangu_verl_ifeval.refusal import CannotJudge

MOST_CHECKS = 100


@dataclass(frozen=True, slots=True)
class BoundCheck:
    """``is_met`` takes an answer; it may raise ``CannotJudge``."""

    id: str
    is_met: Callable[[str], bool]


def bound_checks(checks: object) -> list[BoundCheck]:
    """The checks of a row, ready to be used. Raises ``CannotJudge`` for the first that cannot be."""
    if isinstance(checks, str | bytes | Mapping) or not isinstance(checks, Iterable):
        raise CannotJudge(f"the row's checks are {_shown(checks)}, expected a list of objects")
    listed = list(checks)
    if not listed:
        raise CannotJudge("the row has no checks")
    if len(listed) > MOST_CHECKS:
        raise CannotJudge(f"the row has {len(listed)} checks, at most {MOST_CHECKS} are taken")
    return [_bound(check) for check in listed]


def _bound(check: object) -> BoundCheck:
    if not isinstance(check, Mapping) or not isinstance(name := check.get("id"), str):
        raise CannotJudge(f"a check is {_shown(check)}, expected an object with the id of an instruction")
    family = FAMILIES.get(name)
    if family is None:
        near = difflib.get_close_matches(name[:100], FAMILIES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f", expected one of the {len(FAMILIES)} of IFEval"
        raise CannotJudge(f"unknown instruction id {_shown(name)}{hint}")
    given = {key: value for key, value in check.items() if key != "id" and value is not None}
    expected = _arguments_of(family)
    for key in given.keys() - expected.keys():
        raise CannotJudge(f"{name} has no argument {_shown(key)} (it has: {', '.join(expected) or 'none'})")
    for key in expected.keys() - given.keys():
        raise CannotJudge(f"{name} lacks the argument {key!r}")
    values = {key: _converted(name, key, value, expected[key]) for key, value in given.items()}
    return BoundCheck(name, functools.partial(family, **values))


def _arguments_of(family: Callable[..., bool]) -> dict[str, Any]:
    """The keyword arguments of a family with their types."""
    hints = get_type_hints(family)
    return {name: hints[name] for name in list(inspect.signature(family).parameters)[1:]}


def _converted(name: str, key: str, value: Any, expected: Any) -> Any:
    if expected is int:
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == value // 1:
            return int(value)
        wanted = "a whole number from 0 on"
    elif expected is str:
        if isinstance(value, str) and value.strip():
            return value
        wanted = "a text that is not empty"
    elif expected == Relation:
        if value in RELATIONS:
            return value
        wanted = " or ".join(map(repr, RELATIONS))
    else:
        texts = list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping) else []
        if texts and all(isinstance(text, str) and text.strip() for text in texts):
            return texts
        wanted = "a list of texts, none of them empty"
    raise CannotJudge(f"{name} has {key} = {_shown(value)}, expected {wanted}")


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
