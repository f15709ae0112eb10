"""The process that runs the code of an ``assert`` test, apart from the program that it tests.

Invariant: nothing that the program made runs here. The test passed only if its code ran to the end and the program's
process was there until then; that is said over a channel that the program's process never had.
"""

from __future__ import annotations

import os
import types
from typing import Any

from pangu_verl.mars.code.inside.prelude import prelude
from pangu_verl.mars.code.inside.program import described
from pangu_verl.mars.code.inside.remote import Link, ProgramFailed, ProgramLost
from pangu_verl.mars.code.wire import Channel


def run_test(request: dict[str, Any], channel: Channel, link_channel: Channel) -> None:
    """Says ``passed`` (None for a test that is broken itself), the ``stage`` reached and an ``error``; then ends."""
    channel.send(_outcome(request["test"], Link(link_channel)))
    os._exit(0)


def _outcome(test: str, link: Link) -> dict[str, Any]:
    try:
        code = compile(test, "<test>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return _result(None, "test", f"the test's code cannot be compiled: {described(error)}")
    try:
        names = link.names()
        exec(code, _namespace(names))
    except ProgramFailed as error:
        return _result(False, error.stage, str(error))
    except ProgramLost as error:
        return _result(False, "runtime_error", str(error))
    except AssertionError as error:
        return _result(False, "ran", described(error))
    except ModuleNotFoundError as error:
        broken = not hasattr(error, "raised_by_program")
        return _result(None if broken else False, "test", described(error))
    except SystemExit as error:  # as unittest.main leaves
        return _result(error.code in (None, 0, False) and not link.lost, "ran", link.lost or described(error))
    except BaseException as error:  # noqa: BLE001 - whatever ends the test, it did not pass
        return _result(False, "runtime_error", described(error))
    return _result(False, "runtime_error", link.lost) if link.lost else _result(True, "ran", "")


def _namespace(names: dict[str, Any]) -> dict[str, Any]:
    """The program's names over the prelude's, whose modules stay what they are."""
    given = prelude()
    modules = {name: value for name, value in given.items() if isinstance(value, types.ModuleType)}
    return {"__name__": "test", **given, **names, **modules}


def _result(passed: bool | None, stage: str, error: str) -> dict[str, Any]:
    return {"passed": passed, "stage": stage, "error": error}
