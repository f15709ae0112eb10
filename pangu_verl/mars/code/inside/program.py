"""The process that runs a model's code: executes it, and answers for its values.

Invariant: no expected value, no test code and no verdict is ever in this process. All that it says is a claim about
what the code computes, and is judged elsewhere, so code that takes the process over gains the right to guess.
"""

from __future__ import annotations

import os
import sys
import types
from typing import Any

from pangu_verl.mars.code.inside.plain import json_data
from pangu_verl.mars.code.inside.prelude import prelude
from pangu_verl.mars.code.inside.service import Service
from pangu_verl.mars.code.wire import Channel

LONGEST_MESSAGE = 300


def run_program(request: dict[str, Any], channel: Channel, link: Channel | None) -> None:
    """Execute the code, then do what the request asks: nothing more, one call, or to serve a test over ``link``."""
    is_script = request["kind"] == "stdin"
    module = types.ModuleType("__main__" if is_script else "solution")
    given = prelude()
    module.__dict__.update(given)
    sys.modules[module.__name__] = module
    answer_to = link if link is not None else channel
    try:
        code = compile(request["code"], "<response>", "exec")
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        _leave(answer_to, {"stage": "syntax_error", "error": described(error)})
    try:
        exec(code, module.__dict__)
    except SystemExit as error:
        if error.code not in (None, 0):
            _leave(answer_to, {"stage": "runtime_error", "error": described(error)})
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        _leave(answer_to, {"stage": "runtime_error", "error": described(error)})
    if link is not None:
        Service(link, module, given).serve()
    elif request["kind"] == "call":
        _leave(channel, _called(module, request))
    else:
        _leave(channel, {"stage": "ran"})


def described(error: BaseException) -> str:
    """Class and message; what the error's own methods do wrong is left out."""
    try:
        return f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE]
    except Exception:  # noqa: BLE001 - the class may be the model's own
        return type(error).__name__


def _called(module: types.ModuleType, request: dict[str, Any]) -> dict[str, Any]:
    try:
        function = _entry_point(module, request["entry_point"])
        arguments = request["args"]
        result = function(**arguments) if isinstance(arguments, dict) else function(*arguments)
        return {"value": json_data(result)}
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        return {"stage": "runtime_error", "error": described(error)}


def _entry_point(module: types.ModuleType, path: str) -> Any:
    """A top-level name, a dotted path through classes, or a method of the class ``Solution`` as LeetCode has it."""
    first, *rest = path.split(".")
    if first not in module.__dict__ and not rest and "Solution" in module.__dict__:
        first, rest = "Solution", [first]
    if first not in module.__dict__:
        raise NameError(f"name '{first}' is not defined")
    found = module.__dict__[first]
    for name in rest:
        found = getattr(found() if isinstance(found, type) else found, name)
    return found


def _leave(channel: Channel, message: dict[str, Any]) -> None:
    """Say it and end, without the code's exit handlers; buffered output belongs to the program and is written."""
    failed = "error" in message
    try:
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 - the stream may be the model's own
        failed = True
    try:
        channel.send(message)
    finally:
        os._exit(1 if failed else 0)
