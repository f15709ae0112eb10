"""SQLite alone, with the ledger's schema and settings: rows that are ready go in, and nothing is asked of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from pangu_verl.queue.entries import Group
from pangu_verl.queue.ledger_completion import Completion
from pangu_verl.queue.ledger_rows import INSERT_GROUP, INSERT_MEMBER, group_row, member_row
from pangu_verl.queue.ledger_schema import TABLES
from pangu_verl.queue.ledger_store import Durability

from .made import LEASE_S, MEMBERS

Work = Callable[[], object]


class Bare:
    """Each method prepares a batch and returns the transaction, so that only that is timed."""

    def __init__(self, path: Path, durability: Durability) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", f"synchronous = {durability}"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(TABLES)

    def close(self) -> None:
        self._connection.close()

    def admit(self, groups: Sequence[Group]) -> Work:
        return self._committed((INSERT_GROUP, [group_row(group) for group in groups]))

    def lease(self, groups: Sequence[Group]) -> Work:
        statement = "UPDATE groups SET state = 1, started_version = ?, lease_owner = ?, lease_s = ? WHERE key = ?"
        return self._committed((statement, [(0, "rollout", LEASE_S, group.key) for group in groups]))

    def complete(self, groups: Sequence[Group], finished: Sequence[Completion]) -> Work:
        """``finished`` are all members of ``groups``, in their order."""
        members = [
            member_row(groups[number // MEMBERS].order, each.key, each.member, each.trajectory)
            for number, each in enumerate(finished)
        ]
        return self._committed(
            (INSERT_MEMBER, members),
            ("UPDATE groups SET state = 2 WHERE key = ?", [(group.key,) for group in groups]),
        )

    def consume(self, groups: Sequence[Group]) -> Work:
        statement = "UPDATE groups SET state = 3, consumed_step = ? WHERE key = ?"
        return self._committed((statement, [(1, group.key) for group in groups]))

    def _committed(self, *changes: tuple[str, Sequence[Sequence[object]]]) -> Work:
        def work() -> None:
            self._connection.execute("BEGIN IMMEDIATE")
            for statement, rows in changes:
                self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")

        return work
