"""How a soak's worker halts at a chosen step on disk, so that it is killed just there.

Steps on disk are the SQL statements of all its databases, seen by SQLite's trace, and its operations on files, seen by
Python's audit events: ledger, snapshot and resumption know nothing of it. Invariant: a halted worker does nothing more;
it waits for the kill that its message asks for.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pangu_verl.simulate.soak.kills import Aim, Kill

Say = Callable[[Mapping[str, Any]], None]

_FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.copyfile"}


class Halting:
    """Counts the steps that ``kill`` is aimed at, of files below ``folder``; ``phase`` says what is being done."""

    def __init__(self, kill: Kill | None, folder: Path, say: Say) -> None:
        self.phase = Aim.RESUMPTION
        self._kill = kill
        self._left = kill.ordinal if kill else 0
        self._before = ""
        self._samples = 0
        self._folder = str(folder)
        self._say = say
        if kill is not None and kill.aim is not Aim.ANY_TIME:
            self._connect = sqlite3.connect
            # An audit event tells of a connection before it can be traced.
            sqlite3.connect = self._traced  # type: ignore[assignment]
            sys.addaudithook(self._see)

    def trained(self, samples: int) -> None:
        """So many samples were trained on in this lineage."""
        self._samples = samples

    def _traced(self, *arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = self._connect(*arguments, **named)
        connection.set_trace_callback(partial(self._see_statement, connection))
        return connection

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FILE_EVENTS and self._is_ours(arguments[0]):
            self._count(f"{event} {Path(os.fsdecode(arguments[0])).name}", is_in_transaction=False)

    def _see_statement(self, connection: sqlite3.Connection, statement: str) -> None:
        self._count(statement.split(maxsplit=1)[0], is_in_transaction=connection.in_transaction)

    def _is_ours(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fsdecode(path).startswith(self._folder)

    def _count(self, what: str, *, is_in_transaction: bool) -> None:
        assert self._kill is not None
        aim = self._kill.aim
        if aim is not Aim.RESUMPTION and (self.phase is not aim or self._samples < self._kill.after_samples):
            return
        if aim is Aim.TRANSACTION and not is_in_transaction:
            return
        # Thousands of rows that are written alike would leave no kill for what comes after them.
        if aim is not Aim.TRANSACTION and what == self._before:
            return
        self._before = what
        self._left -= 1
        if self._left == 0:
            self._say({"halted": f"{self.phase}: {what}", "is_in_transaction": is_in_transaction})
            while True:
                signal.pause()
