"""Values as JSON data with their Python types, and frames of JSON over a socket.

Invariant: what is decoded is plain data of exact built-in types, whatever the sender is: a subclass arrives as its
base, and nothing that arrives can run. What is no data goes through ``refer``, which the two sides of a call give.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

LONGEST_FRAME_BYTES = 32 << 20
DEEPEST_NESTING = 200
LARGEST_PLAIN_INTEGER = 1 << 53

Refer = Callable[[Any], Any]


class WireError(ValueError):
    """A frame or a value that cannot be sent, or that is not what the protocol allows."""


class Channel:
    """One end of a stream socket. ``deadline`` is a time of ``time.monotonic``; without it calls block."""

    def __init__(self, end: socket.socket, *, longest_received_bytes: int = LONGEST_FRAME_BYTES) -> None:
        self._end = end
        self._longest_received_bytes = longest_received_bytes

    def send(self, message: Any, deadline: float | None = None) -> None:
        try:
            data = json.dumps(message).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise WireError(f"a message that JSON cannot hold: {error}") from None
        if len(data) > LONGEST_FRAME_BYTES:
            raise WireError(f"a message of {len(data)} bytes; at most {LONGEST_FRAME_BYTES} may cross")
        self._set_timeout(deadline)
        self._end.sendall(struct.pack("!I", len(data)) + data)

    def receive(self, deadline: float | None = None) -> Any:
        """The next message. Raises ``EOFError``, ``TimeoutError`` or ``WireError``."""
        (length,) = struct.unpack("!I", self._exactly(4, deadline))
        if length > self._longest_received_bytes:
            raise WireError(f"a message of {length} bytes; at most {self._longest_received_bytes} may cross")
        try:
            return json.loads(self._exactly(length, deadline))
        except (ValueError, RecursionError) as error:
            raise WireError(f"a message that is no JSON: {type(error).__name__}") from None

    def close(self) -> None:
        self._end.close()

    def _exactly(self, length: int, deadline: float | None) -> bytes:
        data = bytearray()
        while len(data) < length:
            self._set_timeout(deadline)
            piece = self._end.recv(min(length - len(data), 1 << 20))
            if not piece:
                raise EOFError("the other end left")
            data += piece
        return bytes(data)

    def _set_timeout(self, deadline: float | None) -> None:
        if deadline is None:
            self._end.settimeout(None)
            return
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("time is up")
        self._end.settimeout(left_s)


def encode(value: Any, refer: Refer, depth: int = 0) -> Any:
    """The JSON form. Raises ``WireError`` for what is nested too deep, as what contains itself is."""
    if depth > DEEPEST_NESTING:
        raise WireError(f"a value nested deeper than {DEEPEST_NESTING} levels")
    if value is None or isinstance(value, bool):
        return value
    for kind, write in _SCALARS.items():
        if isinstance(value, kind):
            return write(value)
    for kind, (tag, items_of) in _COLLECTIONS.items():
        if isinstance(value, kind):
            items = [encode(item, refer, depth + 1) for item in items_of(value)]
            return items if tag is None else {tag: items}
    if type(value).__module__ == "numpy" and callable(getattr(value, "tolist", None)):
        return encode(value.tolist(), refer, depth + 1)
    return refer(value)


def decode(data: Any, refer: Refer) -> Any:
    """The value of a JSON form; ``refer`` gets the objects that stand for no data. Raises ``WireError``."""
    if isinstance(data, list):
        return [decode(item, refer) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) != 1:
        raise WireError("an object of the protocol has one key")
    ((tag, content),) = data.items()
    try:
        return _READERS[tag](content, refer) if tag in _READERS else refer(data)
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise WireError(f"no {tag}: {error}") from None


def _write_integer(value: int) -> Any:
    plain = int.__pos__(value)
    return plain if -LARGEST_PLAIN_INTEGER < plain < LARGEST_PLAIN_INTEGER else {"integer": hex(plain)}


_SCALARS: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: _write_integer,
    float: float.__pos__,
    complex: lambda value: {"complex": [complex.__pos__(value).real, complex.__pos__(value).imag]},
    bytes: lambda value: {"bytes": base64.b64encode(value).decode()},
    bytearray: lambda value: {"bytearray": base64.b64encode(value).decode()},
    Decimal: lambda value: {"decimal": Decimal.__str__(value)},
    Fraction: lambda value: {"fraction": [hex(value.numerator), hex(value.denominator)]},
    range: lambda value: {"range": [value.start, value.stop, value.step]},
}
_COLLECTIONS: dict[type, tuple[str | None, Callable[[Any], Any]]] = {
    list: (None, list.__iter__),
    tuple: ("tuple", tuple.__iter__),
    set: ("set", set.__iter__),
    frozenset: ("frozenset", frozenset.__iter__),
    dict: ("dict", dict.items),
    deque: ("deque", deque.__iter__),
}


def _items(content: Any, refer: Refer) -> list[Any]:
    if not isinstance(content, list):
        raise WireError("a collection of the protocol is a list")
    return [decode(item, refer) for item in content]


_READERS: dict[str, Callable[[Any, Refer], Any]] = {
    "integer": lambda content, _: int(content, 16),
    "complex": lambda content, _: complex(float(content[0]), float(content[1])),
    "bytes": lambda content, _: base64.b64decode(content, validate=True),
    "bytearray": lambda content, _: bytearray(base64.b64decode(content, validate=True)),
    "decimal": lambda content, _: Decimal(content),
    "fraction": lambda content, _: Fraction(int(content[0], 16), int(content[1], 16)),
    "range": lambda content, _: range(*content),
    "tuple": lambda content, refer: tuple(_items(content, refer)),
    "set": lambda content, refer: set(_items(content, refer)),
    "frozenset": lambda content, refer: frozenset(_items(content, refer)),
    "dict": lambda content, refer: dict(_items(content, refer)),
    "deque": lambda content, refer: deque(_items(content, refer)),
}
