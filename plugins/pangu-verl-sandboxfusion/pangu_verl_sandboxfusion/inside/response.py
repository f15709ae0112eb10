"""The process that holds the response. It knows neither the expected values nor the word that signs a report.

What it writes is believed as data only, so a response that takes over this process can say which values it returns
and no more.
"""

from __future__ import annotations

import json
import operator
import os
import sys
import types
from collections.abc import Callable
from typing import Any, TextIO

from pangu_verl_sandboxfusion.inside.wire import from_wire, to_wire

DRAINED = 100_000


def serve(reader: TextIO, writer: TextIO) -> None:
    """Load the response and answer what the test asks, until the pipe ends."""
    objects: list[Any] = []

    def keep(value: Any) -> Any:
        objects.append(value)
        return {"o": len(objects) - 1}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if "solution" in request:
            module = types.ModuleType("solution")
            sys.modules["solution"] = module  # where dataclasses and pickles look for it
            namespace = module.__dict__
            exec(compile(request["solution"], "<solution>", "exec"), namespace)
            found = {name: namespace[name] for name in request["names"] if name in namespace}
            return {"value": to_wire(found, keep)}
        arguments = [from_wire(argument, objects.__getitem__) for argument in request["arguments"]]
        named = {name: from_wire(argument, objects.__getitem__) for name, argument in request["named"].items()}
        value = OPERATIONS[request["operation"]](*arguments, **named)
        return {"value": to_wire(value, keep), "arguments": [to_wire(argument, keep) for argument in arguments]}

    for line in reader:
        try:
            reply = json.dumps(answer(json.loads(line)))
        except BaseException as error:  # noqa: BLE001 - the test decides what it means
            kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
            reply = json.dumps({"error": [kinds[0], str(error)[:500]]})
        writer.write(reply + "\n")
        writer.flush()


def _call(function: Any, *arguments: Any, **named: Any) -> Any:
    return function(*arguments, **named)


def _drain(iterable: Any) -> list[Any]:
    drained: list[Any] = []
    for item in iterable:
        if len(drained) == DRAINED:
            raise RuntimeError(f"more than {DRAINED} items")
        drained.append(item)
    return drained


OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": _call,
    "drain": _drain,
    "getattr": getattr,
    "getitem": operator.getitem,
    "len": len,
    "repr": repr,
    "setattr": setattr,
    "str": str,
}


if __name__ == "__main__":
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    serve(os.fdopen(int(sys.argv[1]), encoding="utf-8"), os.fdopen(int(sys.argv[2]), "w", encoding="utf-8"))
