"""The live groups of a run, by where they are, with the deadlines of those that were started.

Invariant: a live group is in exactly one pool, the one that its state names; ``waiting`` and ``ready`` are in the order
of admission; each started group holds one credit of ``deadlines``. What moves a group is decided in ``scheduler``.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Sequence, Set
from operator import attrgetter

from pangu_verl.errors import WrongUse
from pangu_verl.queue.entries import Group, State
from pangu_verl.scheduler.deadlines import Deadlines

_in_order = attrgetter("order")


class Pools:
    """Lists of groups that wait and are ready, and a dictionary of those that run. Read freely; change by the verbs."""

    def __init__(self, groups_per_version: int) -> None:
        self.live: dict[str, Group] = {}
        self.waiting: list[Group] = []
        self.running: dict[str, Group] = {}
        self.ready: list[Group] = []
        self.deadlines = Deadlines(groups_per_version)
        self.deadline_of: dict[str, int] = {}
        self.started_by_task: Counter[str] = Counter()
        #: Keys of started groups that the policy waits for, and how many of them run and are ready, by deadline.
        self.awaited: set[str] = set()
        self.awaited_running: Counter[int] = Counter()
        self.awaited_ready: Counter[int] = Counter()
        #: Of those that wait, the ones whose trajectories were kept over a resumption.
        self.interrupted: dict[str, Group] = {}

    @property
    def num_started(self) -> int:
        return len(self.running) + len(self.ready)

    def check_new(self, groups: Sequence[Group]) -> None:
        """Raise ``WrongUse`` for a key that is live or comes twice, and for a group that could never be ready."""
        seen: set[str] = set()
        for group in groups:
            key = group.key
            if group.prompt.trajectories < 1:
                raise WrongUse(f"a group has 1 trajectory or more, but {key!r} asks for none; correct its prompt")
            if key in self.live or key in seen:
                raise WrongUse(f"prompt keys are unique in a run, but {key!r} came again; give each draw its own key")
            seen.add(key)

    def admit(self, groups: Sequence[Group]) -> None:
        self.live |= {group.key: group for group in groups}
        self.waiting += groups

    def start(self, groups: Sequence[Group], deadlines: Sequence[int], version: int, awaited: Set[str]) -> None:
        """``awaited`` are the keys of those that no step may leave behind until they are over their bound."""
        for group, deadline in zip(groups, deadlines, strict=True):
            group.state = State.RUNNING
            if group.started_version is None:
                group.started_version = version
            self.running[group.key] = group
            self.deadline_of[group.key] = deadline
            self.deadlines.add(deadline)
            if group.key in awaited:
                self.awaited.add(group.key)
                self.awaited_running[deadline] += 1
            self.started_by_task[group.task] += 1
            self.interrupted.pop(group.key, None)
        self.waiting = _without(self.waiting, groups)

    def finish(self, group: Group) -> None:
        """Its last trajectory is there."""
        group.state = State.READY
        del self.running[group.key]
        insort(self.ready, group, key=_in_order)
        if group.key in self.awaited:
            deadline = self.deadline_of[group.key]
            self.awaited_running[deadline] -= 1
            self.awaited_ready[deadline] += 1

    def reopen(self, groups: Sequence[Group], *, evicted: bool) -> None:
        """They wait (again), at the place that their order gives them; what they had gathered is forgotten."""
        self._stop(groups)
        for group in groups:
            if group.state is not State.WAITING:
                self.started_by_task[group.task] -= 1
                insort(self.waiting, group, key=_in_order)
            group.state, group.started_version, group.finished = State.WAITING, None, {}
            group.attempt += 1
            group.evictions += int(evicted)

    def remove(self, groups: Sequence[Group]) -> None:
        """They are live no longer."""
        self._stop(groups)
        self.waiting = _without(self.waiting, groups)
        for group in groups:
            del self.live[group.key]

    def restore(self, group: Group, deadline: int | None, *, is_awaited: bool) -> None:
        """Put in a group as a ledger knows it, oldest first; ``deadline`` where it was started."""
        self.live[group.key] = group
        if group.state is State.WAITING:
            self.waiting.append(group)
            if group.started_version is not None:
                self.interrupted[group.key] = group
            return
        if group.state is State.RUNNING:
            self.running[group.key] = group
        else:
            self.ready.append(group)
        assert deadline is not None
        self.deadline_of[group.key] = deadline
        self.deadlines.add(deadline)
        if is_awaited:
            self.awaited.add(group.key)
            (self.awaited_running if group.state is State.RUNNING else self.awaited_ready)[deadline] += 1
        self.started_by_task[group.task] += 1

    def _stop(self, groups: Sequence[Group]) -> None:
        """Take groups out of ``running`` and ``ready`` and give back their credits."""
        for group in groups:
            self.running.pop(group.key, None)
            self.interrupted.pop(group.key, None)
            if (deadline := self.deadline_of.pop(group.key, None)) is None:
                continue
            self.deadlines.remove(deadline)
            if group.key in self.awaited:
                self.awaited.remove(group.key)
                (self.awaited_ready if group.state is State.READY else self.awaited_running)[deadline] -= 1
        if any(group.state is State.READY for group in groups):
            self.ready = _without(self.ready, groups)


def _without(pool: list[Group], groups: Sequence[Group]) -> list[Group]:
    if pool[: len(groups)] == groups:
        return pool[len(groups) :]
    gone = {group.key for group in groups}
    return [group for group in pool if group.key not in gone]
