"""Values as JSON data, with their Python types.

Invariant: what is read is built anew from Python's own types, whatever class the other side had, so no method of a
response comes along. What is no data goes by number ("o"), and stays where it is.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

_PLAIN = (bool, int, float, str)
_CONTAINERS: tuple[tuple[Any, str], ...] = ((list, "l"), (tuple, "t"), (set, "s"), (frozenset, "f"))
_SCALARS: tuple[tuple[Any, Any], ...] = ((int, int.__int__), (float, float.__float__), (str, str.__str__))
_AS_TEXT: dict[Any, str] = {Fraction: "q", Decimal: "m", complex: "c"}
_BUILTIN_TYPES = {name: value for name, value in vars(builtins).items() if isinstance(value, type)}
_FROM_TEXT: dict[str, Callable[[str], Any]] = {"b": bytes.fromhex, "q": Fraction, "m": Decimal, "c": complex}


def to_wire(value: Any, other: Callable[[Any], Any]) -> Any:
    """JSON data for a value; a subclass goes as its base's data; ``other`` deals with what is no data."""
    if value is None or type(value) in _PLAIN:
        return value
    for kind, tag in _CONTAINERS:
        if isinstance(value, kind):
            return {tag: [to_wire(item, other) for item in kind.__iter__(value)]}
    if isinstance(value, dict):
        return {"d": [[to_wire(key, other), to_wire(item, other)] for key, item in dict.items(value)]}
    if isinstance(value, (bytes, bytearray)):
        return {"b": bytes(value).hex()}
    if type(value) in _AS_TEXT:
        return {_AS_TEXT[type(value)]: str(value)}
    for kind, plain in _SCALARS:
        if isinstance(value, kind):
            return plain(value)
    for name, builtin in _BUILTIN_TYPES.items():
        if value is builtin:
            return {"y": name}
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return to_wire(value.item(), other)
    return other(value)


def from_wire(data: Any, resolve: Callable[[int], Any]) -> Any:
    if data is None or type(data) in _PLAIN:
        return data
    ((tag, content),) = data.items()
    if tag in ("l", "t", "s", "f"):
        kind: Any = {"l": list, "t": tuple, "s": set, "f": frozenset}[tag]
        return kind([from_wire(item, resolve) for item in content])
    if tag == "d":
        return {from_wire(key, resolve): from_wire(item, resolve) for key, item in content}
    if tag in _FROM_TEXT:
        return _FROM_TEXT[tag](content)
    if tag == "y":
        return _BUILTIN_TYPES[content]
    if tag == "o":
        return resolve(content)
    raise ValueError(tag)
