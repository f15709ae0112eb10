"""A ledger as plain dictionaries: what the one on disk has to agree with, whatever happens to it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pangu_verl.queue.entries import EVICTED, LIVE_STATES, Group, State, Trajectory


@dataclass
class LedgerModel:
    """``lease_ends_s`` and ``durations_s`` are of RUNNING groups; ``spent`` gives the step of pruned groups, if any."""

    groups: dict[str, Group] = field(default_factory=dict)
    spent: dict[str, int | None] = field(default_factory=dict)
    priorities: dict[str, float] = field(default_factory=dict)
    lease_ends_s: dict[str, float] = field(default_factory=dict)
    durations_s: dict[str, float] = field(default_factory=dict)
    version: int = 0

    def copy(self) -> LedgerModel:
        return copy.deepcopy(self)

    def keys(self, *states: State) -> list[str]:
        """Oldest first."""
        found = [each for each in self.groups.values() if each.state in states]
        return [each.key for each in sorted(found, key=lambda each: each.order)]

    @property
    def waiting(self) -> list[str]:
        """In the order in which they are to be leased."""
        return sorted(self.keys(State.WAITING), key=lambda key: (-self.priorities[key], self.groups[key].order))

    @property
    def trained(self) -> set[str]:
        return set(self.keys(State.CONSUMED)) | {key for key, step in self.spent.items() if step is not None}

    @property
    def members(self) -> set[tuple[str, int]]:
        return {(key, member) for key, each in self.groups.items() for member in each.finished}

    def counts(self) -> dict[State, int]:
        found = {state: len(self.keys(state)) for state in State}
        found[State.CONSUMED] += sum(step is not None for step in self.spent.values())
        found[State.ABANDONED] += sum(step is None for step in self.spent.values())
        return found

    def admit(self, groups: Iterable[Group]) -> None:
        for each in groups:
            self.groups[each.key] = copy.deepcopy(each)
            self.priorities[each.key] = 0.0

    def lease(self, keys: Iterable[str], now_s: float, duration_s: float) -> None:
        for key in keys:
            each = self.groups[key]
            each.state = State.RUNNING
            each.started_version = self.version if each.started_version is None else each.started_version
            self.lease_ends_s[key] = now_s + duration_s
            self.durations_s[key] = duration_s

    def complete(self, key: str, member: int, trajectory: Trajectory, attempt: int) -> bool:
        each = self.groups[key]
        if each.state != State.RUNNING or attempt != each.attempt or member in each.finished:
            return False
        each.finished[member] = trajectory
        if not each.missing:
            each.state = State.READY
            self._end_lease(key)
        return True

    def reopen(self, keys: Iterable[str], reason: str) -> None:
        for key in keys:
            each = self.groups[key]
            self.groups[key] = replace(
                each,
                state=State.WAITING,
                attempt=each.attempt + 1,
                evictions=each.evictions + int(reason == EVICTED),
                started_version=None,
                finished={},
            )
            self._end_lease(key)

    def consume(self, keys: Iterable[str], step: int) -> None:
        for key in keys:
            self.groups[key] = replace(self.groups[key], state=State.CONSUMED, consumed_step=step)

    def abandon(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.groups[key] = replace(self.groups[key], state=State.ABANDONED, finished={})
            self._end_lease(key)

    def prune(self, step: int) -> None:
        for key, each in list(self.groups.items()):
            is_trained = each.consumed_step is not None and each.consumed_step <= step
            if is_trained or each.state == State.ABANDONED:
                self.spent[key] = each.consumed_step
                del self.groups[key]

    def start_leases_anew(self, now_s: float) -> None:
        self.lease_ends_s = {key: now_s + duration_s for key, duration_s in self.durations_s.items()}

    def resume(self, step: int, payloads: set[tuple[str, int]]) -> None:
        """From the state at the cut to that after a resumption."""
        for key, each in self.groups.items():
            if each.consumed_step is not None and each.consumed_step > step:
                each.state, each.consumed_step = State.READY, None
            if each.state not in LIVE_STATES:
                continue
            each.finished = {member: made for member, made in each.finished.items() if (key, member) in payloads}
            if each.state == State.RUNNING or (each.state == State.READY and each.missing):
                each.state = State.WAITING
                each.attempt += 1
            if each.state == State.WAITING and not each.finished:
                each.started_version = None
        self.lease_ends_s, self.durations_s = {}, {}

    def _end_lease(self, key: str) -> None:
        self.lease_ends_s.pop(key, None)
        self.durations_s.pop(key, None)
