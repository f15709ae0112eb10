"""What rollout has finished: generations that have ended in TransferQueue, with the versions that made their tokens.

verl's agent loops write a row for each output, named ``uid_session_index``, and then set the status of the uid.
Invariants: an end is reported once; a generation with a failed session, or without a row for each session, has failed;
nothing is decided here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import transfer_queue as tq

from pangu_verl.integrations.verl.scheduling.prompts import group_of, uid_of
from pangu_verl.integrations.verl.scheduling.segments import in_order, segments_of
from pangu_verl.integrations.verl.trajectories import rewards_of
from pangu_verl.queue.entries import Group, Segment, Trajectory

PARTITION = "train"
_ENDED = ("finished", "failure")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row in TransferQueue: its name there, verl's tag, and which session of the generation it belongs to."""

    name: str
    tag: Mapping[str, Any]
    session: int
    index: int


class Outcome(NamedTuple):
    """Of one session. ``passed`` is None where nobody judged it."""

    trajectory: Trajectory
    passed: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """A generation that has ended. ``rows`` are in the order of sessions, and of outputs within one."""

    key: str
    attempt: int
    has_failed: bool
    rows: tuple[Row, ...]

    def outcomes(self, started_version: int) -> dict[int, Outcome]:
        """By member: what each session made, all its rows taken together. ``RunFailed`` without versions.

        ``started_version`` is that of the group: no token of it is older.
        """
        names = [row.name for row in self.rows]
        found = tq.kv_batch_get(keys=names, partition_id=PARTITION, select_fields=["extra_fields", "response_mask"])
        segments: defaultdict[int, list[Segment]] = defaultdict(list)
        for row, extra, mask in zip(self.rows, found["extra_fields"], found["response_mask"].unbind(), strict=True):
            notes = getattr(extra, "data", extra)
            segments[row.session] += segments_of(row.name, notes, int(mask.sum()), started_version)
        rewards = {
            row.session: reward for row, reward in zip(self.rows, rewards_of(found, len(self.rows)), strict=True)
        }
        return {
            session: Outcome(Trajectory(in_order(made), _score(rewards[session])), _passed(rewards[session]))
            for session, made in segments.items()
        }


def _passed(reward: Mapping[str, Any]) -> bool | None:
    """What a reward says of correctness: ``passed`` is ours, ``acc`` is that of verl's own rewards."""
    said = reward.get("passed", reward.get("acc"))
    return bool(said) if isinstance(said, bool | np.bool_ | int | float) else None


def _score(reward: Mapping[str, Any]) -> float | None:
    score = reward.get("score")
    return float(score) if isinstance(score, int | float) and math.isfinite(score) else None


def register(groups: Sequence[Group], step: int) -> None:
    """Announce generations to verl's agent loops, which set their status."""
    tags = [{"is_prompt": True, "status": "pending", "global_steps": step} for _ in groups]
    tq.kv_batch_put(keys=[uid_of(group.key, group.attempt) for group in groups], partition_id=PARTITION, tags=tags)


class Look(NamedTuple):
    """``ended`` generations, and how many sessions go on, those of generations that were given up included."""

    ended: list[Arrival]
    busy_slots: int


def look(trajectories: int) -> Look:
    """At every generation in TransferQueue; those that are reported as ended are to be settled."""
    items = _listing()
    status_by_uid = {name: tag["status"] for name, tag in items.items() if tag.get("is_prompt")}
    # A worker that wrote the end of a generation after it had been settled.
    clear([name for name in items if "_" not in name and name not in status_by_uid])
    rows = _rows_by_uid(items, status_by_uid)
    found, busy_slots = [], 0
    for uid, status in status_by_uid.items():
        if status not in _ENDED:
            busy_slots += trajectories - len({row.session for row in rows[uid]})
            continue
        key, attempt = group_of(uid)
        sessions = {row.session for row in rows[uid]}
        has_failed = status == "failure" or sessions != set(range(trajectories))
        found.append(Arrival(key=key, attempt=attempt, has_failed=has_failed, rows=tuple(rows[uid])))
    return Look(found, busy_slots)


def settle(arrivals: Iterable[Arrival], *, with_rows: bool) -> None:
    """Take ended generations off the list, and their rows with them where nobody wants them."""
    names = [uid_of(arrival.key, arrival.attempt) for arrival in arrivals]
    if with_rows:
        names += [row.name for arrival in arrivals for row in arrival.rows]
    clear(names)


def clear(names: Sequence[str]) -> None:
    if names:
        tq.kv_clear(keys=list(names), partition_id=PARTITION)


def whole_generations(trajectories: int) -> dict[tuple[str, int], tuple[Row, ...]]:
    """Rows by key and attempt, of those that have some for every session."""
    items = _listing()
    # verl pads batches with rows of its own, which are still there when a checkpoint is made.
    names = [name for name, tag in items.items() if "_" in name and not tag.get("is_padding")]
    by_uid = _rows_by_uid(items, {name.split("_")[0] for name in names})
    return {
        group_of(uid): tuple(rows)
        for uid, rows in by_uid.items()
        if {row.session for row in rows} == set(range(trajectories))
    }


def all_names() -> set[str]:
    """Of everything that verl's training partition holds."""
    return set(_listing())


def _listing() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = (tq.kv_list(PARTITION) or {}).get(PARTITION, {})
    return found


def _rows_by_uid(items: Mapping[str, Mapping[str, Any]], uids: Iterable[str]) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {uid: [] for uid in uids}
    for name, tag in items.items():
        uid, _, place = name.partition("_")
        if place and uid in rows:
            session, _, index = place.partition("_")
            rows[uid].append(Row(name=name, tag=tag, session=int(session), index=int(index)))
    for found in rows.values():
        found.sort(key=lambda row: (row.session, row.index))
    return rows
