"""A scheduler with a witness beside it: each verb is done, and held against what the witness knows by itself.

The witness keeps the groups as the caller of the verbs sees them, from prompts, answers and return values, and computes
lags, masks, credits and passings anew from the segments. It never reads the scheduler's pools.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from scheduler_made import prompts, trajectory

from pangu_verl.queue.entries import LIVE_STATES, Group, Prompt, State, Trajectory
from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.priority import Priority
from pangu_verl.scheduler.batch import Batch, TakenGroup
from pangu_verl.scheduler.policies import Wait
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import StalenessPolicy

#: Key, member, trajectory and attempt.
Answer = tuple[str, int, Trajectory, int]


@dataclass(slots=True)
class Known:
    """What the witness knows of a group. ``bound`` and ``started`` are of the present attempt."""

    prompt: Prompt
    order: int
    state: State = State.WAITING
    attempt: int = 0
    evictions: int = 0
    started: int | None = None
    bound: int | None = None
    finished: dict[int, Trajectory] = field(default_factory=dict)

    @property
    def deadline(self) -> int:
        assert self.started is not None and self.bound is not None
        return self.started + self.bound

    @property
    def is_kept(self) -> bool:
        """It waits with trajectories that a resumption kept."""
        return self.state is State.WAITING and self.started is not None

    def wait_again(self) -> None:
        self.state, self.attempt = State.WAITING, self.attempt + 1
        self.started, self.bound, self.finished = None, None, {}


class World:
    """``ledger`` is written to where one is given."""

    def __init__(
        self,
        settings: SchedulerSettings,
        policy: StalenessPolicy,
        priority: Priority | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.scheduler = Scheduler(settings, policy, priority, ledger)
        self.configured = settings
        self.priority = priority
        self.ledger = ledger
        self.known: dict[str, Known] = {}
        self.late_answers: list[Answer] = []
        self.version = 0
        self.consumed_at_version = 0
        self.steps: list[tuple[str, ...]] = []

    @property
    def settings(self) -> SchedulerSettings:
        return self.scheduler.settings

    @property
    def policy(self) -> StalenessPolicy:
        return self.scheduler.policy

    @property
    def is_version_over(self) -> bool:
        return self.consumed_at_version == self.settings.groups_per_version

    def keys(self, *states: State) -> list[str]:
        return [key for key, known in self.known.items() if known.state in states]

    # The verbs

    def admit(self, new: Sequence[Prompt]) -> None:
        groups = self.scheduler.admit(new)
        self._check_wave(groups, new)
        for group in groups:
            assert group.order > max((known.order for known in self.known.values()), default=-1)
            self.known[group.key] = Known(group.prompt, group.order)

    def _check_wave(self, groups: Sequence[Group], new: Sequence[Prompt]) -> None:
        admitted = [group.prompt for group in groups]
        if self.settings.wave_groups is None:
            assert admitted == list(new)
            return
        assert sorted(prompt.key for prompt in admitted) == sorted(prompt.key for prompt in new)
        falls = len(self.known) // self.settings.wave_groups % 2 == 1
        lengths = [prompt.expected_tokens for prompt in admitted if prompt.expected_tokens is not None]
        assert lengths == sorted(lengths, reverse=falls)

    def dispatch(self, limit_groups: int) -> list[Group]:
        waited = [self.known[key] for key in self.keys(State.WAITING)]
        groups = self.scheduler.dispatch(limit_groups)
        assert len(groups) <= max(0, limit_groups)
        for group in groups:
            known = self.known[group.key]
            assert known.state is State.WAITING and group.state is State.RUNNING
            known.state, known.started = State.RUNNING, group.started_version
            known.bound = self.settings.bound_of(group.task)
        deadlines = {self.settings.bound_of(known.prompt.task) for known in waited}
        if len(deadlines) == 1 and not any(known.finished for known in waited):
            self._check_passings([self.known[group.key] for group in groups], waited, self._window())
        return groups

    def complete(self, key: str, member: int, trajectory: Trajectory) -> None:
        known = self.known[key]
        assert self.scheduler.complete(key, member, trajectory, known.attempt)
        known.finished[member] = trajectory
        if len(known.finished) == known.prompt.trajectories:
            known.state = State.READY

    def complete_all(self) -> None:
        """Every running trajectory arrives, each with a token of every version since its group's start."""
        for key in self.keys(State.RUNNING):
            known = self.known[key]
            for member in set(range(known.prompt.trajectories)) - set(known.finished):
                self.complete(key, member, self.spanning(known))

    def spanning(self, known: Known) -> Trajectory:
        assert known.started is not None
        return trajectory(*((version, 1) for version in range(known.started, self.version + 1)))

    def evict(self) -> list[Group]:
        groups = self.scheduler.evict()
        for group in groups:
            known = self.known[group.key]
            known.evictions += not known.is_kept
            assert known.evictions <= getattr(self.policy, "most_evictions", 0)
        self._reopened(groups)
        return groups

    def restart(self, keys: Iterable[str]) -> None:
        asked = list(keys)
        started = {key for key in asked if self.known[key].state is not State.WAITING}
        groups = self.scheduler.restart(asked)
        assert {group.key for group in groups} == started
        self._reopened(groups)

    def abandon(self, key: str) -> None:
        known = self.known[key]
        self._remember_late_answers(known)
        assert self.scheduler.abandon(key, "its prompt failed every time").state is State.ABANDONED
        known.state, known.finished = State.ABANDONED, {}

    def take(self) -> Batch | None:
        ready = [self.known[key] for key in self.keys(State.READY)]
        batch = self.scheduler.take()
        if batch is None:
            return None
        assert (batch.step, batch.version) == (len(self.steps), self.version)
        assert len({entry.group.key for entry in batch.groups}) == len(batch.groups) == self.settings.batch_groups
        for entry in batch.groups:
            assert self.known[entry.group.key].state is State.READY
            self._check_lags(entry)
        self._check_passings([self.known[entry.group.key] for entry in batch.groups], ready, self._window())
        for entry in batch.groups:
            self.known[entry.group.key].state = State.CONSUMED
        self.steps.append(tuple(entry.group.key for entry in batch.groups))
        self.consumed_at_version += len(batch.groups)
        return batch

    def publish(self) -> None:
        self.version += 1
        self.consumed_at_version = 0
        assert self.scheduler.publish() == self.version

    def adjust(self, bound_versions: int, window_groups: int | None) -> None:
        self.scheduler.adjust(bound_versions, window_groups)

    # What has to hold

    def check(self) -> None:
        """Every group is where the witness thinks it is, in memory and in the ledger; credits are kept."""
        live = {key: known for key, known in self.known.items() if known.state in LIVE_STATES}
        assert list(self.scheduler.live) == sorted(live, key=lambda key: live[key].order)
        for key, known in live.items():
            _compare(self.scheduler.live[key], known)
        found = Counter(known.state for known in live.values())
        assert all(self.scheduler.num_groups(state) == found[state] for state in LIVE_STATES)
        assert self.scheduler.version == self.version
        assert self.scheduler.next_version == self.version + self.is_version_over
        if self.policy == Wait():
            self._check_credits()
        if self.ledger is not None:
            recorded = {group.key: group for group in self.ledger.groups(LIVE_STATES)}
            assert recorded.keys() == live.keys()
            for key, group in recorded.items():
                _compare(group, live[key])

    def train_until_consumed(self, keys: Iterable[str], most_steps: int) -> None:
        """Go on as a trainer would, with prompts without end; these groups are trained on within so many steps."""
        awaited, first = set(keys), 1_000_000
        for _ in range(most_steps):
            awaited &= set(self.keys(*LIVE_STATES))
            if not awaited:
                return
            if self.is_version_over:
                self.publish()
            for _ in range(8):
                self.evict()
                self.admit(prompts(self.scheduler.capacity(), first))
                first += self.scheduler.capacity() + 100
                if not self.dispatch(1_000_000) and not self.keys(State.RUNNING):
                    break
                self.complete_all()
            self.check()
            assert self.take() is not None, "everything has finished, and no step may start"
        assert not awaited & set(self.keys(*LIVE_STATES)), "waits for ever"

    def _check_lags(self, entry: TakenGroup) -> None:
        known = self.known[entry.group.key]
        bound = self.settings.bound_of(known.prompt.task) if self.policy.masks_tokens else known.bound
        assert bound is not None
        for member, arrived in known.finished.items():
            assert entry.group.finished[member] == arrived
            versions = [segment.version for segment in arrived.segments for _ in range(segment.tokens)]
            trained = versions[entry.masked_tokens[member] :]
            assert all(self.version - version <= bound for version in trained)
            if entry.masked_tokens[member]:
                assert self.policy.masks_tokens and self.version - versions[entry.masked_tokens[member] - 1] > bound

    def _check_credits(self) -> None:
        deadlines = [self.known[key].deadline for key in self.keys(State.RUNNING, State.READY)]
        for deadline in deadlines:
            places = (deadline - self.version + 1) * self.settings.groups_per_version - self.consumed_at_version
            assert sum(other <= deadline for other in deadlines) <= places

    def _window(self) -> int:
        if not (self.priority and self.priority.weights):
            return 1
        return self.settings.overtaking_groups or self.settings.batch_groups

    def _check_passings(self, chosen: Sequence[Known], queued: Sequence[Known], window_groups: int) -> None:
        """Whoever passes an older group is younger by less than the window, or its deadline comes first."""
        orders = {known.order for known in chosen}
        for left in (known for known in queued if known.order not in orders):
            for other in chosen:
                is_sooner = (
                    not self.policy.masks_tokens
                    and left.bound is not None
                    and max(other.deadline, self.version) < max(left.deadline, self.version)
                )
                assert other.order < left.order + window_groups or is_sooner

    def _reopened(self, groups: Iterable[Group]) -> None:
        for group in groups:
            self._remember_late_answers(self.known[group.key])
            self.known[group.key].wait_again()

    def _remember_late_answers(self, known: Known) -> None:
        if known.state is State.RUNNING:
            self.late_answers.append((known.prompt.key, 0, self.spanning(known), known.attempt))


def _compare(group: Group, known: Known) -> None:
    assert (group.state, group.attempt, group.order) == (known.state, known.attempt, known.order)
    assert group.finished == known.finished
    if known.state in (State.RUNNING, State.READY):
        assert known.started is not None
        assert group.started_version == known.started
        made = [segment.version for arrived in group.finished.values() for segment in arrived.segments]
        assert min(made, default=known.started) >= known.started
