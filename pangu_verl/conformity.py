"""Whether an object is what a protocol asks for, and what it lacks, in words.

``typing.runtime_checkable`` looks for names alone. Here the types of plain attributes and the shape of methods (how
many arguments, whether awaited) are compared as well. Nothing of the object is called.
"""

from __future__ import annotations

import inspect
from typing import Any, get_origin, get_type_hints


def shortcoming(candidate: object, protocol: type) -> str | None:
    """What keeps ``candidate`` from being a ``protocol``, None if nothing does."""
    if isinstance(candidate, type):
        return f"is the class {candidate.__name__}, expected an object of it"
    for name, expected in get_type_hints(protocol).items():
        if (complaint := _of_attribute(candidate, name, expected)) is not None:
            return complaint
    for name, method in inspect.getmembers(protocol, inspect.isfunction):
        if not name.startswith("_") and (complaint := _of_method(candidate, name, method)) is not None:
            return complaint
    return None


def _of_attribute(candidate: object, name: str, expected: Any) -> str | None:
    shown = getattr(expected, "__name__", "") if get_origin(expected) is None else str(expected)
    try:
        value = getattr(candidate, name)
    except Exception:  # noqa: BLE001 - a property of a stranger may raise anything
        return f"has no attribute {name!r} ({shown})"
    if not isinstance(value, get_origin(expected) or expected):
        return f"has {name} = {value!r}, expected {shown}"
    if isinstance(value, str | frozenset) and not value:
        return f"has an empty {name}"
    return None


def _of_method(candidate: object, name: str, method: Any) -> str | None:
    arguments = list(inspect.signature(method).parameters)[1:]
    definition = f"{'async ' if inspect.iscoroutinefunction(method) else ''}def {name}(self, {', '.join(arguments)})"
    found = getattr(candidate, name, None)
    if not callable(found):
        return f"has no method {name!r}, expected {definition}"
    if inspect.iscoroutinefunction(found) != inspect.iscoroutinefunction(method):
        return f"has a method {name!r} that is not as expected: {definition}"
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError:
        return f"has {name}{inspect.signature(found)}, expected {definition}"
    return None
