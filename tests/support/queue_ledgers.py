"""Ledgers on a clock that tests turn by hand, and the groups and trajectories that go into them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from pangu_verl.queue.entries import LIVE_STATES, Group, Prompt, Segment, State, Trajectory
from pangu_verl.queue.ledger import Durability, Ledger
from pangu_verl.queue.ledger_completion import Completion

RUN = "run-a"
ALL_STATES = tuple(State)


class HandClock:
    """Stands until it is turned."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def new_ledger(path: Path, clock: HandClock | None = None, durability: Durability = Durability.NORMAL) -> Ledger:
    return Ledger.create(path, RUN, durability, clock or HandClock())


def opened(path: Path, clock: HandClock | None = None) -> Ledger:
    return Ledger.open(path, RUN, Durability.NORMAL, clock or HandClock())


def group(number: int, trajectories: int = 2, version: int = 0) -> Group:
    prompt = Prompt(key=f"g{number}", task="maths", trajectories=trajectories, row=number, pass_rate=0.25)
    return Group(prompt, order=number, admitted_version=version)


def trajectory(version: int = 0, reward: float | None = 1.0) -> Trajectory:
    """Begun under ``version`` and finished under the next."""
    return Trajectory((Segment(version, 100), Segment(version + 1, 7)), reward)


def lease(ledger: Ledger, *keys: str, version: int = 0, duration_s: float = 60.0) -> None:
    ledger.lease(keys, version, "rollout", duration_s)


def finish(ledger: Ledger, *keys: str, version: int = 0) -> None:
    """Leases the groups and completes all their members."""
    lease(ledger, *keys, version=version)
    found = {each.key: each for each in ledger.groups(LIVE_STATES)}
    ledger.complete_many(
        [
            Completion(key, member, trajectory(version), found[key].attempt)
            for key in keys
            for member in range(found[key].prompt.trajectories)
            if member not in found[key].finished
        ]
    )


def contents(ledger: Ledger) -> dict[str, Group]:
    """Every group on record."""
    return {each.key: each for each in ledger.groups(ALL_STATES)}


def states(ledger: Ledger) -> dict[str, State]:
    return {key: each.state for key, each in contents(ledger).items()}


def payloads(ledger: Ledger) -> set[tuple[str, int]]:
    """As a data plane would hold them that lost nothing."""
    return {(each.key, member) for each in ledger.groups(LIVE_STATES) for member in each.finished}


def copied(path: Path, target: Path) -> Path:
    """The files of a ledger as they stand, held or not: what a killed process would leave behind."""
    for ending in ("", "-wal"):
        if path.with_name(path.name + ending).exists():
            shutil.copyfile(path.with_name(path.name + ending), target.with_name(target.name + ending))
    return target


def flip_page(path: Path, number: int, page_bytes: int = 4096) -> None:
    """Turns every bit of page ``number`` (from 0)."""
    whole = bytearray(path.read_bytes())
    start = number * page_bytes
    whole[start : start + page_bytes] = bytes(byte ^ 0xFF for byte in whole[start : start + page_bytes])
    path.write_bytes(whole)


def admit(ledger: Ledger, numbers: Iterable[int], trajectories: int = 2) -> list[str]:
    """Admits groups of these numbers and returns their keys."""
    groups = [group(number, trajectories) for number in numbers]
    ledger.admit(groups)
    return [each.key for each in groups]
