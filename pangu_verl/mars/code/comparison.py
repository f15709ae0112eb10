"""Whether what a program gave is what was expected, as data.

Invariant: both sides are plain data by now, so nothing of a model runs here. Two integers are equal or not: the
tolerance of 1e-6, relative or absolute, is for numbers of which one has a fraction. Truth values are no numbers.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

TOLERANCE = 1e-6
LONGEST_NUMBER_CHARACTERS = 400

_INTEGER = re.compile(r"[+-]?[0-9]+")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[0-9]+[eE][+-][0-9]+")


def same_data(result: Any, expected: Any) -> bool:
    """Equality as JSON data: a tuple is a list, a mapping's keys are text. Nesting beyond the stack is unequal."""
    try:
        return _same(result, expected)
    except (RecursionError, OverflowError):
        return False


def same_tokens(output: str, expected: str) -> bool:
    """Equality of texts after splitting on white space; numbers by value where one has a fraction."""
    expected_tokens = expected.split()
    tokens = output.split(maxsplit=len(expected_tokens))  # no more, or an endless output would fill the memory
    if len(tokens) != len(expected_tokens):
        return False
    return all(
        token == other or _close_tokens(token, other) for token, other in zip(tokens, expected_tokens, strict=True)
    )


def _same(result: Any, expected: Any) -> bool:
    if isinstance(result, list | tuple | deque | range):
        return (
            isinstance(expected, list | tuple)
            and len(result) == len(expected)
            and all(_same(item, other) for item, other in zip(result, expected, strict=True))
        )
    if isinstance(result, dict):
        return isinstance(expected, Mapping) and _same_mappings(result, expected)
    if isinstance(result, bool) or isinstance(expected, bool):
        return result is expected
    if isinstance(result, int | float | Decimal | Fraction) and isinstance(expected, int | float):
        return _same_numbers(result, expected)
    return type(result) is type(expected) and result is not ... and bool(result == expected)


def _same_mappings(result: dict[Any, Any], expected: Mapping[Any, Any]) -> bool:
    by_key = {_key(key): value for key, value in result.items()}
    expected_by_key = {_key(key): value for key, value in expected.items()}
    return (
        len(by_key) == len(result)
        and by_key.keys() == expected_by_key.keys()
        and all(_same(value, expected_by_key[key]) for key, value in by_key.items())
    )


def _key(key: Any) -> str:
    """As JSON writes the keys of objects."""
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    return key if isinstance(key, str) else repr(key)


def _same_numbers(result: Any, expected: float) -> bool:
    if isinstance(result, int) and isinstance(expected, int):
        return result == expected
    try:
        return _close(float(result), float(expected))
    except (OverflowError, ValueError):
        return bool(result == expected)


def _close(result: float, expected: float) -> bool:
    if math.isnan(expected):
        return math.isnan(result)
    return math.isclose(result, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _close_tokens(token: str, expected: str) -> bool:
    """Two integers differ where their texts do: "007" may be a name, and a long number has no tolerance."""
    if max(len(token), len(expected)) > LONGEST_NUMBER_CHARACTERS:
        return False
    reals = [text for text in (token, expected) if _REAL.fullmatch(text)]
    integers = [text for text in (token, expected) if _INTEGER.fullmatch(text)]
    return bool(reals) and len(reals) + len(integers) == 2 and _close(float(token), float(expected))
