"""Comparing results with what was expected."""

from __future__ import annotations

import math
from collections import deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.mars.code.comparison import same_data, same_tokens

JSON_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        ({1: "a", None: "b"}, {"1": "a", "null": "b"}),
        (1.0, 1),
        (0.1 + 0.2, 0.3),
        (1e12 + 1, 1e12),
        (Fraction(1, 3), 0.33333333),
        (Decimal("2.5"), 2.5),
        (math.inf, math.inf),
        (math.nan, math.nan),
        (10**400, 10**400),
    ],
)
def test_equal_as_json_data(result: Any, expected: Any) -> None:
    assert same_data(result, expected)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (True, 1),
        (1, True),
        (998244352, 998244353),
        ("1", 1),
        ([1, 2], [1, 2, 3]),
        ({1, 2}, [1, 2]),
        (b"a", "a"),
        ({"a": 1, "b": 2}, {"a": 1}),
        ({1: "a", "1": "b"}, {"1": "b"}),
        (None, 0),
        (math.nan, 1.0),
        (10**400, 1.5),
        (complex(1, 0), 1),
    ],
)
def test_unequal_as_json_data(result: Any, expected: Any) -> None:
    assert not same_data(result, expected)


@given(JSON_DATA)
def test_data_equals_itself(data: Any) -> None:
    assert same_data(data, data)


def test_nesting_beyond_the_stack_is_unequal() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert not same_data(deep, deep)


@pytest.mark.parametrize(
    ("output", "expected"),
    [("1 2\n3", "1\n2 3\n"), ("0.3333333", "0.33333333"), ("3", "3.0"), ("", ""), ("1e-7", "0.0"), ("Yes", "Yes")],
)
def test_equal_tokens(output: str, expected: str) -> None:
    assert same_tokens(output, expected)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("1", "1 1"),
        ("yes", "YES"),
        ("101", "0101"),
        ("1000000007", "1000000008"),
        ("nan", "1.0"),
        ("inf", "1.0"),
        ("1_0.0", "10.0"),
        ("٣.0", "3.0"),
        ("0." + "9" * 10_000, "1.0"),
        ("", "0"),
    ],
)
def test_unequal_tokens(output: str, expected: str) -> None:
    assert not same_tokens(output, expected)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)), st.sampled_from([" ", "\n", "\t ", "\r\n"]))
def test_white_space_means_nothing(numbers: list[float], gap: str) -> None:
    assert same_tokens(gap.join(map(repr, numbers)), " ".join(map(repr, numbers)))


def test_output_without_end_is_not_split_to_its_end() -> None:
    assert not same_tokens("1 " * 1_000_000, "1 1")
