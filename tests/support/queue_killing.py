"""Processes that are killed at a chosen moment: at a byte that they write, or at a step they take on files."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_in_child(work: Callable[[], None]) -> int:
    """Runs ``work`` in a forked process; 0 where it came to its end, else the number of the signal that killed it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - nothing of the parent's may run in the child
            os._exit(99)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code <= 0, f"the child failed by itself, exit code {code}"
    return -code


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_byte(limit_bytes: int) -> None:
    """This process, by the kernel, at this byte of any file that it writes: the write is torn there."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))


def kill_at_call(fatal: int) -> None:
    """This process, before step number ``fatal`` (from 0) of those that it takes on files. For a forked child."""
    steps = iter(range(1_000_000))

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(steps) == fatal:
                kill_self()
            return function(*arguments, **named)

        return call

    for name in ("replace", "unlink", "write_text"):
        setattr(Path, name, watched(getattr(Path, name)))
    os.fsync = watched(os.fsync)
