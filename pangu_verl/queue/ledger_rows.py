"""How groups and trajectories stand in the tables of a ledger, and how they are read back whole.

Invariant: what is read equals what was written. What SQLite would change in silence (it keeps NaN as NULL) is refused.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import struct
from collections.abc import Iterable, Iterator, Sequence

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import Group, Prompt, Segment, State, Trajectory
from pangu_verl.queue.ledger_store import Row, Store

INSERT_GROUP = f"""
INSERT INTO groups (place, key, task, trajectories, data_row, expected_tokens, pass_rate, admitted_version, attempt,
                    state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, {State.WAITING:d})
"""
INSERT_MEMBER = "INSERT INTO members VALUES (?, ?, ?, ?)"

_GROUP = """
SELECT place, key, task, trajectories, data_row, expected_tokens, pass_rate, admitted_version, state, started_version,
       attempt, evictions, consumed_step
FROM groups
"""
_STATES = tuple(State)


def group_row(group: Group) -> Row:
    """Of a group that is being admitted."""
    prompt = group.prompt
    expected, pass_rate = prompt.expected_tokens, prompt.pass_rate
    if group.state is not State.WAITING or group.finished:
        raise RunFailed(f"group {group.key!r} is {group.state.name} and cannot be admitted; admit new groups, WAITING")
    if (expected is not None and math.isnan(expected)) or (pass_rate is not None and math.isnan(pass_rate)):
        raise RunFailed(f"group {group.key!r} has NaN for an estimate; an unknown estimate is None")
    return (
        group.order,
        prompt.key,
        prompt.task,
        prompt.trajectories,
        prompt.row,
        expected,
        pass_rate,
        group.admitted_version,
        group.attempt,
    )


def member_row(place: int, key: str, member: int, trajectory: Trajectory) -> Row:
    reward = trajectory.reward
    if reward is not None and math.isnan(reward):
        raise RunFailed(f"the reward of group {key!r}, member {member}, is NaN; an unknown reward is None")
    segments = trajectory.segments
    return place, member, reward, _packed(len(segments)).pack(*itertools.chain.from_iterable(segments))


@functools.cache
def _packed(num_segments: int) -> struct.Struct:
    """The column ``segments``: version and tokens of one segment after another."""
    return struct.Struct("<" + "qq" * num_segments)


def groups_in(store: Store, states: Iterable[State]) -> Iterator[Group]:
    """Oldest first. Read at once, so that the caller may change the ledger while it goes through them."""
    chosen = json.dumps([int(state) for state in states])
    rows = store.rows(f"{_GROUP} WHERE state IN (SELECT value FROM json_each(?)) ORDER BY place", (chosen,))
    members = store.rows(
        "SELECT members.* FROM groups JOIN members USING (place) WHERE state IN (SELECT value FROM json_each(?))",
        (chosen,),
    )
    return _whole(rows, members)


def groups_at(store: Store, places: Sequence[int]) -> list[Group]:
    """In the order of ``places``."""
    chosen = (json.dumps(places),)
    rows = store.rows(f"{_GROUP} WHERE place IN (SELECT value FROM json_each(?))", chosen)
    members = store.rows("SELECT * FROM members WHERE place IN (SELECT value FROM json_each(?))", chosen)
    by_place = {group.order: group for group in _whole(rows, members)}
    return [by_place[place] for place in places]


def _whole(rows: Iterable[Row], members: Iterable[Row]) -> Iterator[Group]:
    finished: dict[int, dict[int, Trajectory]] = {}
    for place, member, reward, segments in members:
        made = tuple(map(Segment._make, _packed(1).iter_unpack(segments)))
        finished.setdefault(place, {})[member] = Trajectory(made, reward)
    return (_group(row, finished.get(row[0], {})) for row in rows)


def _group(row: Row, finished: dict[int, Trajectory]) -> Group:
    (
        place,
        key,
        task,
        trajectories,
        data_row,
        expected,
        pass_rate,
        admitted,
        state,
        started,
        attempt,
        evictions,
        step,
    ) = row
    return Group(
        prompt=Prompt(
            key=key,
            task=task,
            trajectories=trajectories,
            row=data_row,
            expected_tokens=expected,
            pass_rate=pass_rate,
        ),
        order=place,
        admitted_version=admitted,
        state=_STATES[state],
        started_version=started,
        attempt=attempt,
        evictions=evictions,
        finished=finished,
        consumed_step=step,
    )
