"""A program's result as plain JSON data, for the tests that call one function.

Invariant: what leaves has no form but JSON's, so that the reader outside needs no decoder of our own: tuples and
drained iterators are lists, keys are text, exact numbers that JSON lacks are floats. Sets are no JSON data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

from pangu_verl.mars.code.wire import DEEPEST_NESTING, WireError

MOST_DRAINED = 1_000_000


def json_data(value: Any, depth: int = 0) -> Any:
    """Raises ``WireError`` for what is no data, too deep or endless."""
    if depth > DEEPEST_NESTING:
        raise WireError(f"a value nested deeper than {DEEPEST_NESTING} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__pos__(value)
    if isinstance(value, float | Decimal | Fraction):
        return float(value)
    if isinstance(value, list | tuple | deque | range | Iterator):
        return [json_data(item, depth + 1) for item in _items(value)]
    if isinstance(value, dict):
        return {_key(key): json_data(item, depth + 1) for key, item in dict.items(value)}
    if type(value).__module__ == "numpy" and callable(getattr(value, "tolist", None)):
        return json_data(value.tolist(), depth + 1)
    raise WireError(f"a value of type {type(value).__name__}, which is no data")


def _items(value: Any) -> list[Any]:
    items = list(islice(value, MOST_DRAINED + 1))
    if len(items) > MOST_DRAINED:
        raise WireError(f"more than {MOST_DRAINED} items")
    return items


def _key(key: Any) -> str:
    """As JSON writes the keys of objects."""
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, int | float):
        return repr(key)
    raise WireError(f"a key of type {type(key).__name__}, which is no data")
