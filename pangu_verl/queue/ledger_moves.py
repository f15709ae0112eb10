"""How groups change their state in a ledger: many at once, each of them in a state from which that is allowed, or none.

Invariant: all of these run inside a transaction of the caller's, who rolls back when one of them raises.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import State
from pangu_verl.queue.ledger_store import Store

OF_KEYS = "key IN (SELECT value FROM json_each(?))"
OF_PLACES = "place IN (SELECT value FROM json_each(?))"


def move(
    store: Store,
    keys: Collection[str],
    assignments: str,
    parameters: Sequence[Any],
    allowed: Sequence[State],
    participle: str,
    also: str = "FALSE",
) -> list[int]:
    """Sets ``assignments`` in the groups of ``keys`` and returns their places, in no order.

    ``also`` is a condition under which groups outside the ``allowed`` states may move as well; ``participle`` says in
    an error what was to be done with them.
    """
    states = ", ".join(str(int(state)) for state in allowed)
    rows = store.rows(
        f"UPDATE groups SET {assignments} WHERE {OF_KEYS} AND (state IN ({states}) OR {also}) RETURNING place, key",
        (*parameters, json.dumps(list(keys))),
    )
    if len(rows) != len(keys):
        _refuse(store, keys, {row[1] for row in rows}, allowed, participle)
    return [row[0] for row in rows]


def states_of(store: Store, keys: Collection[str]) -> dict[str, State]:
    """Refuses a key that is not in the ledger."""
    found = store.rows(f"SELECT key, state FROM groups WHERE {OF_KEYS}", (json.dumps(list(keys)),))
    states = {key: State(state) for key, state in found}
    for key in keys:
        if key not in states:
            raise unknown(store, key)
    return states


def unknown(store: Store, key: str) -> RunFailed:
    """The error for a key that has no record, or none any more."""
    if store.rows("SELECT 1 FROM spent WHERE key = ?", (key,)):
        return RunFailed(f"group {key!r} of {store.path} was trained on or given up before the last snapshot")
    return RunFailed(f"there is no group {key!r} in {store.path}; admit it first, or resume from the right checkpoint")


def start_leases(store: Store, places: Sequence[int], end_s: float) -> None:
    store.change("INSERT OR REPLACE INTO lease_ends SELECT value, ? FROM json_each(?)", (end_s, json.dumps(places)))


def end_leases(store: Store, places: Sequence[int]) -> None:
    store.change_many("DELETE FROM lease_ends WHERE place = ?", [(place,) for place in places])


def forget_work(store: Store, places: Sequence[int]) -> None:
    """Of groups that are generated anew or given up."""
    end_leases(store, places)
    store.change(f"DELETE FROM members WHERE {OF_PLACES}", (json.dumps(places),))


def count(store: Store, amounts: Mapping[str, int]) -> None:
    """Adds to the ledger's counters."""
    store.change_many(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
        [(name, amount) for name, amount in amounts.items() if amount],
    )


def _refuse(
    store: Store, keys: Collection[str], moved: Collection[str], allowed: Sequence[State], participle: str
) -> NoReturn:
    left = [key for key in keys if key not in moved]
    if not left:
        raise RunFailed(
            f"group {Counter(keys).most_common(1)[0][0]!r} is to be {participle} twice at once; name each group once"
        )
    state = states_of(store, left)[left[0]]
    wanted = " or ".join(state.name for state in allowed)
    raise RunFailed(f"group {left[0]!r} is {state.name} and cannot be {participle}; only {wanted} groups can")
