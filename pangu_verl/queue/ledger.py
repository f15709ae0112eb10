"""The ledger: what was admitted, leased, produced and consumed, kept on disk so that a killed run loses none of it.

Invariants: every verb is one transaction, kept whole or not at all, and ``transaction`` joins several into one; a group
is consumed at most once, and its key is never admitted again; a trajectory is stored once, and only for the attempt
that is running; ``place`` and version never go back. No wall clock is read: leases run on a monotonic clock and start
anew when a ledger is opened, because such a clock does not survive its process.

The file is SQLite's, in WAL mode, on a disk of this machine, held by one process (``ledger_store``). Snapshots for
checkpoints are ``ledger_snapshot``, going back to one is ``ledger_resume``. What may be taken, evicted or dropped is
decided by ``pangu_verl.scheduler``, never here.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from pangu_verl.errors import RunFailed
from pangu_verl.queue import ledger_snapshot
from pangu_verl.queue.entries import EVICTED, LIVE_STATES, Group, State, Trajectory
from pangu_verl.queue.ledger_completion import Completion, store_completions
from pangu_verl.queue.ledger_moves import (
    OF_KEYS,
    OF_PLACES,
    count,
    forget_work,
    move,
    start_leases,
    states_of,
)
from pangu_verl.queue.ledger_rows import INSERT_GROUP, group_row, groups_at, groups_in
from pangu_verl.queue.ledger_schema import LEASE_ENDS
from pangu_verl.queue.ledger_store import Durability, Store, create, open_store

Clock = Callable[[], float]

#: The counter of a task's consumed groups begins so.
CONSUMED_OF_TASK = "consumed of task: "
#: The highest order so far outlives the groups, which snapshots prune.
NEXT_ORDER = "INSERT INTO facts VALUES ('next_order', ?1) ON CONFLICT DO UPDATE SET value = max(value, ?1)"
_LEASED = f"state = {State.RUNNING:d}, started_version = COALESCE(started_version, ?), lease_owner = ?, lease_s = ?"
#: The first of these is the next to be leased.
_WAITING_BY_PRIORITY = f"SELECT place FROM groups WHERE state = {State.WAITING:d} ORDER BY priority DESC, place LIMIT ?"


class Ledger:
    """The verbs on a ledger; ``Ledger.create`` and ``Ledger.open`` make one. One thread at a time may use it.

    All verbs raise RunFailed, with the key, for a group that is unknown or in the wrong state, for a full disk and for
    a damaged file; nothing of that verb is then kept.
    """

    def __init__(self, store: Store, clock: Clock = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        store.change(LEASE_ENDS)
        store.change(
            "INSERT INTO lease_ends SELECT place, ? + lease_s FROM groups WHERE state = ?", (clock(), State.RUNNING)
        )

    @classmethod
    def create(cls, path: Path, run_id: str, durability: Durability, clock: Clock = time.monotonic) -> Self:
        """A new ledger. Raises WrongUse where there is a file already."""
        create(path, run_id)
        return cls.open(path, run_id, durability, clock)

    @classmethod
    def open(cls, path: Path, run_id: str, durability: Durability, clock: Clock = time.monotonic) -> Self:
        """The ledger of run ``run_id``, as its last commit left it. Errors as ``ledger_store.open_store``."""
        return cls(open_store(path, run_id, durability), clock)

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Joins the verbs inside into one commit, undone whole where any of them fails."""
        return self._store.transaction()

    def admit(self, groups: Sequence[Group]) -> None:
        """Records new groups at their ``order``. A key or an order that this run has used before is refused."""
        keys = [group.key for group in groups]
        with self._store.transaction():
            spent = self._store.rows(f"SELECT key FROM spent WHERE {OF_KEYS}", (json.dumps(keys),))
            if spent:
                raise RunFailed(
                    f"group {spent[0][0]!r} was trained on or given up before; a key is admitted once a run"
                )
            try:
                self._store.change_many(INSERT_GROUP, [group_row(group) for group in groups])
            except sqlite3.IntegrityError as error:
                raise RunFailed(
                    f"groups {keys[0]!r}.. are not new ({error}); a key and an order are used once"
                ) from error
            count(self._store, {"admitted": len(groups)})
            if groups:
                self._store.change(NEXT_ORDER, (1 + max(group.order for group in groups),))

    def lease(self, keys: Collection[str], version: int, owner: str, duration_s: float) -> None:
        """WAITING -> RUNNING at policy version ``version``, for ``owner`` and for so long unless renewed."""
        with self._store.transaction():
            places = move(self._store, keys, _LEASED, (version, owner, duration_s), (State.WAITING,), "leased")
            start_leases(self._store, places, self._clock() + duration_s)

    def select_and_lease(self, limit: int, owner: str, duration_s: float, version: int) -> list[Group]:
        """Leases up to ``limit`` of the WAITING groups: highest priority first, the oldest among equals."""
        with self._store.transaction():
            places = [row[0] for row in self._store.rows(_WAITING_BY_PRIORITY, (limit,))]
            self._store.change(
                f"UPDATE groups SET {_LEASED} WHERE {OF_PLACES}", (version, owner, duration_s, json.dumps(places))
            )
            start_leases(self._store, places, self._clock() + duration_s)
            return groups_at(self._store, places)

    def renew(self, keys: Collection[str], duration_s: float) -> list[str]:
        """Leases run for ``duration_s`` from now. Returns the keys that hold none any more. Nothing reaches the disk.

        A ledger that is opened again goes by the duration of the first lease, not by that of a renewal.
        """
        with self._store.transaction():
            states = states_of(self._store, keys)
            running = [key for key in keys if states[key] is State.RUNNING]
            rows = self._store.rows(f"SELECT place FROM groups WHERE {OF_KEYS}", (json.dumps(running),))
            start_leases(self._store, [row[0] for row in rows], self._clock() + duration_s)
        return [key for key in keys if states[key] is not State.RUNNING]

    def expired(self) -> list[str]:
        """Keys of RUNNING groups whose lease has ended, oldest group first. They stay RUNNING until reopened."""
        rows = self._store.rows(
            "SELECT key FROM groups JOIN lease_ends USING (place) WHERE end_s <= ? ORDER BY place", (self._clock(),)
        )
        return [row[0] for row in rows]

    def complete(self, key: str, member: int, trajectory: Trajectory, attempt: int) -> bool:
        """As ``complete_many``, for one trajectory."""
        return self.complete_many([Completion(key, member, trajectory, attempt)])[0]

    def complete_many(self, completions: Sequence[Completion]) -> list[bool]:
        """Stores finished trajectories; a group with its last one becomes READY.

        False for each that is not stored, only counted: ``stale`` is of an attempt that was given up, ``duplicate`` is
        there already. An attempt that never began and a member that the group does not have are refused.
        """
        with self._store.transaction():
            return store_completions(self._store, completions)

    def reopen(self, keys: Collection[str], reason: str) -> None:
        """RUNNING or READY -> WAITING at the next attempt, its trajectories deleted, its place kept; counted by reason.

        ``EVICTED`` counts as an eviction of the group. A group that waits with trajectories kept over a resumption
        may be made anew as well.
        """
        renewed = f"state = {State.WAITING:d}, attempt = attempt + 1, evictions = evictions + ?, started_version = NULL"
        allowed = (State.RUNNING, State.READY)
        with self._store.transaction():
            places = move(
                self._store,
                keys,
                renewed,
                (int(reason == EVICTED),),
                allowed,
                "reopened",
                also=f"state = {State.WAITING:d} AND started_version IS NOT NULL",
            )
            forget_work(self._store, places)
            count(self._store, {f"reopened: {reason}": len(places)})

    def consume(self, keys: Collection[str], step: int) -> None:
        """READY -> CONSUMED by training step ``step``: all of them or none."""
        with self._store.transaction():
            done = f"state = {State.CONSUMED:d}, consumed_step = ?"
            places = move(self._store, keys, done, (step,), (State.READY,), "consumed")
            tasks = self._store.rows(
                f"SELECT task, count(*) FROM groups WHERE {OF_PLACES} GROUP BY task", (json.dumps(places),)
            )
            count(
                self._store, {"consumed": len(places)} | {f"{CONSUMED_OF_TASK}{task}": groups for task, groups in tasks}
            )

    def abandon(self, keys: Collection[str], reason: str) -> None:
        """Gives live groups up for good, counted by reason."""
        with self._store.transaction():
            places = move(self._store, keys, f"state = {State.ABANDONED:d}", (), LIVE_STATES, "abandoned")
            forget_work(self._store, places)
            count(self._store, {f"abandoned: {reason}": len(places)})

    def publish(self, version: int) -> None:
        """Policy version ``version`` is out. Going back is refused: only a resumption does."""
        with self._store.transaction():
            if version < self.version:
                raise RunFailed(f"version {version} after {self.version}: versions do not go back; resume a checkpoint")
            self._store.change("UPDATE facts SET value = ? WHERE name = 'version'", (version,))

    def reprioritise(self, priorities: Mapping[str, float]) -> None:
        """Stores priorities, highest first; groups start at 0. Groups that no longer wait keep theirs for later."""
        for key, priority in priorities.items():
            if math.isnan(priority):
                raise RunFailed(f"the priority of group {key!r} is NaN; give a number")
        with self._store.transaction():
            states_of(self._store, priorities)
            self._store.change_many(
                "UPDATE groups SET priority = ? WHERE key = ?", [(value, key) for key, value in priorities.items()]
            )

    @property
    def path(self) -> Path:
        return self._store.path

    @property
    def version(self) -> int:
        return int(self._store.rows("SELECT value FROM facts WHERE name = 'version'")[0][0])

    @property
    def next_order(self) -> int:
        """One more than the order of any group of this run, also of those that were pruned."""
        return int(self._store.rows("SELECT COALESCE(MAX(value), 0) FROM facts WHERE name = 'next_order'")[0][0])

    @property
    def next_step(self) -> int:
        """One more than the last training step that consumed a group."""
        last = "SELECT MAX(consumed_step) AS step FROM groups UNION ALL SELECT MAX(step) FROM spent"
        return int(self._store.rows(f"SELECT COALESCE(MAX(step) + 1, 0) FROM ({last})")[0][0])

    def groups(self, states: Iterable[State]) -> Iterator[Group]:
        """Whole, oldest first. Of CONSUMED and ABANDONED ones only those since the last snapshot."""
        return groups_in(self._store, states)

    def waiting(self, limit: int) -> list[Group]:
        """The next that ``select_and_lease`` would take, in its order."""
        return groups_at(self._store, [row[0] for row in self._store.rows(_WAITING_BY_PRIORITY, (limit,))])

    def counts(self) -> dict[State, int]:
        """Groups by state, of the whole run."""
        recorded = self._store.rows("SELECT state, count(*) FROM groups GROUP BY state")
        found = dict.fromkeys(State, 0) | {State(state): groups for state, groups in recorded}
        [(spent, consumed)] = self._store.rows("SELECT count(*), count(step) FROM spent")
        found[State.CONSUMED] += consumed
        found[State.ABANDONED] += spent - consumed
        return found

    def counters(self) -> dict[str, int]:
        """What happened so far in this lineage of checkpoints, by name."""
        return dict(self._store.rows("SELECT name, count FROM counters ORDER BY name"))

    def consumed_by_task(self) -> dict[str, int]:
        """How many groups of each task were trained on in this lineage of checkpoints."""
        return {
            name.removeprefix(CONSUMED_OF_TASK): groups
            for name, groups in self.counters().items()
            if name.startswith(CONSUMED_OF_TASK)
        }

    def snapshot(self, folder: Path, step: int) -> Path:
        """Writes the ledger into a checkpoint's folder and returns the mark beside it: ``ledger_snapshot.write``."""
        return ledger_snapshot.write(self._store, folder, step)
