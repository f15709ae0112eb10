"""Finished trajectories on their way into a ledger: stored, or counted as late or as there already.

Invariant: a trajectory is stored once, and only for the attempt that is running; its group becomes READY with the last
of them in the same transaction.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import State, Trajectory
from pangu_verl.queue.ledger_moves import OF_KEYS, count, end_leases, unknown
from pangu_verl.queue.ledger_rows import INSERT_MEMBER, member_row
from pangu_verl.queue.ledger_store import Store


class Completion(NamedTuple):
    """A finished trajectory: the answer of ``member`` in attempt number ``attempt`` at the group of ``key``."""

    key: str
    member: int
    trajectory: Trajectory
    attempt: int


class _Known(NamedTuple):
    place: int
    state: State
    attempt: int
    trajectories: int


#: A group has a row for each trajectory that is there, or one row without.
_GROUPS = f"""
SELECT key, place, state, attempt, trajectories, member FROM groups LEFT JOIN members USING (place) WHERE {OF_KEYS}
"""

#: What may be stored: (key, member, attempt).
_Due = set[tuple[str, int, int]]


def store_completions(store: Store, completions: Sequence[Completion]) -> list[bool]:
    """Whether each was stored. Runs inside a transaction of the caller's."""
    known, due = _known_and_due(store, {each.key for each in completions})
    refusals: list[str | None] = []
    rows = []
    for key, member, trajectory, attempt in completions:
        try:
            due.remove((key, member, attempt))
        except KeyError:
            refusals.append(_refusal(store, key, member, attempt, known.get(key)))
        else:
            refusals.append(None)
            rows.append(member_row(known[key].place, key, member, trajectory))
    store.change_many(INSERT_MEMBER, rows)
    incomplete = {key for key, _, _ in due}
    running = {key: group.place for key, group in known.items() if group.state is State.RUNNING}
    _make_ready(store, [place for key, place in running.items() if key not in incomplete])
    count(store, {"completed": len(rows), **Counter(filter(None, refusals))})
    return [refusal is None for refusal in refusals]


def _known_and_due(store: Store, keys: Collection[str]) -> tuple[dict[str, _Known], _Due]:
    known: dict[str, _Known] = {}
    due: _Due = set()
    for key, place, state, attempt, trajectories, there in store.rows(_GROUPS, (json.dumps(list(keys)),)):
        if key not in known:
            known[key] = _Known(place, State(state), attempt, trajectories)
            if state == State.RUNNING:
                due.update([(key, member, attempt) for member in range(trajectories)])
        due.discard((key, there, attempt))
    return known, due


def _refusal(store: Store, key: str, member: int, attempt: int, group: _Known | None) -> Literal["stale", "duplicate"]:
    """Under which name it counts that this one is not stored; raises for what nobody asked for."""
    if group is None:
        if store.rows("SELECT 1 FROM spent WHERE key = ?", (key,)):
            return "stale"
        raise unknown(store, key)
    if not 0 <= member < group.trajectories:
        raise RunFailed(f"group {key!r} has members 0..{group.trajectories - 1}, an answer came for member {member}")
    if attempt > group.attempt or (attempt == group.attempt and group.state is State.WAITING):
        raise RunFailed(f"an answer came for attempt {attempt} of group {key!r}, which was not leased; lease it first")
    return "stale" if attempt < group.attempt or group.state is State.ABANDONED else "duplicate"


def _make_ready(store: Store, places: Sequence[int]) -> None:
    # One by one: they are few, and a list as JSON has a cost of its own.
    store.change_many(f"UPDATE groups SET state = {State.READY:d} WHERE place = ?", [(place,) for place in places])
    end_leases(store, places)
