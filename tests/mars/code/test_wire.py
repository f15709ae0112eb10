"""Values that cross between processes."""

from __future__ import annotations

import contextlib
import enum
import json
import socket
from collections import Counter, deque, namedtuple
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.mars.code.wire import LONGEST_FRAME_BYTES, Channel, WireError, decode, encode

HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.fractions()
    | st.decimals(allow_nan=False),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner),
    max_leaves=8,
)
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE),
    lambda inner: st.lists(inner) | st.dictionaries(HASHABLE, inner) | st.lists(inner).map(deque),
    max_leaves=8,
)
JSON_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["tuple", "set", "dict", "bytes", "range", "fraction", "integer", "x"]), inner
        )
    ),
    max_leaves=10,
)
Point = namedtuple("Point", "x y")


class Liar(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Colour(enum.IntEnum):
    RED = 1


def refuse(value: Any) -> Any:
    raise WireError("no data")


def across(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value, refuse))), refuse)


@given(VALUES)
def test_value_arrives_equal_and_of_its_type(value: Any) -> None:
    arrived = across(value)
    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(Liar(3), int), (Colour.RED, int), (Point(1, 2), tuple), (Counter("aab"), dict), (True, bool)],
)
def test_subclass_arrives_as_its_base(value: Any, kind: type) -> None:
    assert type(across(value)) is kind


def test_what_an_integer_says_of_itself_does_not_cross() -> None:
    assert across(Liar(3)) != 4


ODD = {
    "long integer": 10**100_000,
    "negative integer": -(10**20),
    "first integer that JSON readers round": 2**53,
    "long fraction": Fraction(10**5000, 3),
    "decimal": Decimal("1e-30"),
    "lone surrogate": "\ud800\x00",
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_large_and_odd_values_cross(value: Any) -> None:
    assert across(value) == value


def test_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(WireError, match="nested deeper"):
        across(loop)


@given(JSON_DATA)
def test_any_json_gives_data_or_an_error_of_the_wire(data: Any) -> None:
    with contextlib.suppress(WireError):
        decode(data, refuse)


@pytest.mark.parametrize(
    "sent", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x03{x}", b"\x00\x03\x0d\x40" + b"[" * 200_000, b"\x00\x00\x00\x01\xff"]
)
def test_frame_that_is_no_message_is_an_error(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.sendall(sent)
        with pytest.raises(WireError):
            Channel(ours).receive()


def test_message_over_the_bound_is_not_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(WireError, match="at most"):
        Channel(ours).send("x" * LONGEST_FRAME_BYTES)


def test_receiving_ends_at_the_deadline() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError):
        Channel(ours).receive(deadline=0.0)
