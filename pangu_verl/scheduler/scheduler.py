"""The scheduler: admits prompts, starts groups, gathers their trajectories, and hands whole groups to training steps.

A trainer or the simulator drives it by verbs, in one thread::

    admit → dispatch → complete … → take → (train) → publish
                 ↑ evict, restart ↲

Invariants: every admitted group is live, consumed or abandoned, exactly one of them; no token over its bound is handed
out (``batch.check_bound``); where nothing is masked, started groups never outnumber the places that are left for them
(``deadlines``); at most ``overtaking_groups`` - 1 younger groups pass an older one, unless an older deadline asks for
it. With a ledger every verb is written down before it counts. No clock is read, and nothing is sent anywhere: that is
the caller's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Self

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import EVICTED, LIVE_STATES, Group, Prompt, State, Trajectory
from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.priority import Priority
from pangu_verl.queue.terms.candidates import Point
from pangu_verl.queue.waves import in_wave, rises
from pangu_verl.scheduler import choosing
from pangu_verl.scheduler.batch import Batch, check_bound, taken
from pangu_verl.scheduler.clock import VersionClock
from pangu_verl.scheduler.policies import gives_up, is_waited_for
from pangu_verl.scheduler.pools import Pools
from pangu_verl.scheduler.record import LEASE_OWNER, Record
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import StalenessPolicy


class Scheduler:
    """One run's scheduler. Errors are ``RunFailed`` for what rollout or a policy did, ``WrongUse`` for the caller."""

    def __init__(
        self,
        settings: SchedulerSettings,
        policy: StalenessPolicy,
        priority: Priority | None = None,
        record: Record | None = None,
    ) -> None:
        self.settings = settings
        self.policy = policy
        self.counts: Counter[str] = Counter()
        self.step = 0
        self._priority = priority or Priority((), {})
        self._record = record
        self._clock = VersionClock()
        self._next_order = 0
        self._pools = Pools(settings.groups_per_version)
        self._consumed_at_version = 0
        self._consumed_by_task: Counter[str] = Counter()
        self._unexamined: dict[str, Group] = {}
        self._left_late: set[str] = set()  # groups that left after an attempt was given up: answers may still come
        self._examined_for = -1

    @classmethod
    def restore(
        cls, settings: SchedulerSettings, policy: StalenessPolicy, ledger: Ledger, priority: Priority | None = None
    ) -> Self:
        """Go on where ``ledger`` stands; it is written to as before.

        That is a checkpoint's cut, or the live ledger while the trainer that consumed its last batch is still alive. A
        group that cannot be in time under these settings, as after a smaller bound was set, is generated anew.
        """
        scheduler = cls(settings, policy, priority, ledger)
        scheduler.step, scheduler._next_order = ledger.next_step, ledger.next_order
        scheduler._clock = VersionClock(ledger.version)
        scheduler._consumed_by_task.update(ledger.consumed_by_task())
        scheduler._pools.started_by_task.update(scheduler._consumed_by_task)
        surplus_steps = scheduler.step - ledger.version * settings.steps_per_version
        scheduler._consumed_at_version = settings.batch_groups * min(max(0, surplus_steps), settings.steps_per_version)
        for group in ledger.groups(LIVE_STATES):
            deadline = None if group.state is State.WAITING else scheduler._deadline(group)
            scheduler._pools.restore(group, deadline, is_awaited=is_waited_for(policy, group))
        if not policy.masks_tokens:
            started = [group for group in scheduler.live.values() if group.started_version is not None]
            now = scheduler.version, scheduler._consumed_at_version
            late = choosing.without_credit(started, policy, settings, scheduler._deadline, *now)
            scheduler._reopen(late, "too_old_on_resume")
        return scheduler

    @property
    def version(self) -> int:
        """The policy version: how many times weights were published."""
        return self._clock.version

    @property
    def next_version(self) -> int:
        """The version at which the next step can start: the present one while a step of it is still to come."""
        is_over = self._consumed_at_version + self.settings.batch_groups > self.settings.groups_per_version
        return self.version + int(is_over)

    @property
    def live(self) -> Mapping[str, Group]:
        """Groups that still have to reach training, by key, in the order of admission."""
        return self._pools.live

    def num_groups(self, state: State) -> int:
        """How many live groups wait, run or are ready."""
        pools = self._pools
        return len({State.WAITING: pools.waiting, State.RUNNING: pools.running, State.READY: pools.ready}[state])

    def capacity(self) -> int:
        """How many prompts may be admitted now, for a choice of what to start next: a whole wave, if it takes any."""
        missing = max(0, (self.settings.lookahead_groups or self.settings.batch_groups) - len(self._pools.waiting))
        return (self.settings.wave_groups or missing) if missing else 0

    def admit(self, prompts: Sequence[Prompt]) -> list[Group]:
        """Take in prompts; they wait until ``dispatch``. Raises ``WrongUse`` for a key that is live already.

        Returns their groups in the order of admission, which is that of ``prompts`` unless they come in waves.
        """
        if wave_groups := self.settings.wave_groups:
            prompts = in_wave(prompts, rises=rises(self._next_order, wave_groups))
        groups = [
            Group(prompt=prompt, order=self._next_order + place, admitted_version=self.version)
            for place, prompt in enumerate(prompts)
        ]
        self._pools.check_new(groups)
        if self._record:
            self._record.admit(groups)
        self._next_order += len(groups)
        self._pools.admit(groups)
        return groups

    def dispatch(self, limit_groups: int) -> list[Group]:
        """Start up to ``limit_groups`` waiting groups by priority, within the credits; the caller sends requests."""
        pools, settings = self._pools, self.settings
        window = settings.window_groups or settings.largest_window_groups
        limit = min(limit_groups, window - pools.num_started, len(pools.waiting))
        if limit <= 0:
            return []
        preferred = self._preferred(pools.waiting, "dispatch", pools.started_by_task)
        chosen = list(preferred[:limit])
        if not self.policy.masks_tokens:
            now = self.version, self._consumed_at_version
            chosen = choosing.with_credit(preferred, limit, pools, settings, self._deadline, *now)
        if chosen and self._record:
            self._record.lease([group.key for group in chosen], self.version, LEASE_OWNER, settings.lease_s)
        awaited = {group.key for group in chosen if is_waited_for(self.policy, group)}
        pools.start(chosen, [self._deadline(group) for group in chosen], self.version, awaited)
        return chosen

    def request_priorities(self, groups: Sequence[Group]) -> list[int]:
        """For a server that runs lower numbers first: one for each of ``groups``, which were started just now."""
        started = self._pools.started_by_task
        return choosing.request_numbers(
            groups, self._priority, self.settings, version=self.version, taken_groups=started
        )

    def complete(self, key: str, member: int, trajectory: Trajectory, attempt: int) -> bool:
        """A trajectory has arrived; its group is ready with the last one. False for an answer that nobody waits for.

        Such are answers of an attempt that was given up, and a second answer for the same member: both are counted.
        """
        if self._record and key not in self._pools.live:
            return self._record.complete(key, member, trajectory, attempt)
        if key in self._left_late:
            self.counts["answers_of_given_up_attempts"] += 1
            return False
        group = self._live(key)
        if not 0 <= member < group.prompt.trajectories:
            raise RunFailed(
                f"group {key!r} has trajectories 0 to {group.prompt.trajectories - 1}, but {member} came back"
            )
        if attempt != group.attempt or group.state is State.WAITING:
            self.counts["answers_of_given_up_attempts"] += 1
            return False
        if member in group.finished:
            self.counts["duplicate_answers"] += 1
            return False
        self._clock.check(trajectory, group)
        if self._record:
            self._record.complete(key, member, trajectory, attempt)
        group.finished[member] = trajectory
        if not group.missing:
            self._pools.finish(group)
            self._unexamined[key] = group
        return True

    def evict(self) -> list[Group]:
        """Give up what the policy gives up: these groups wait again, their place kept; the caller aborts the requests.

        To be called after each ``publish``, ``take`` and completed group. ``attempt`` has grown by the return: the
        requests of the attempt before are those to abort.
        """
        next_version = self.next_version
        if self._examined_for != next_version:
            self._unexamined = {**self._pools.running, **{group.key: group for group in self._pools.ready}}
            self._examined_for = next_version
        examined = [*self._unexamined.values(), *self._pools.interrupted.values()]
        given_up = [group for group in examined if self._is_given_up(group, next_version)]
        evicted = self._reopen(sorted(given_up, key=attrgetter("order")), EVICTED)
        self._unexamined = {}
        return evicted

    def restart(self, keys: Iterable[str]) -> list[Group]:
        """Groups whose server was lost wait again, their place and age kept; those that wait already are left out."""
        lost = [self._live(key) for key in dict.fromkeys(keys)]
        return self._reopen([group for group in lost if group.state is not State.WAITING], "restarted")

    def abandon(self, key: str, reason: str) -> Group:
        """Give up a group for good, say after its prompt failed every time."""
        group = self._live(key)
        if self._record:
            self._record.abandon([key], reason)
        self._pools.started_by_task[group.task] -= int(group.state is not State.WAITING)
        self._remove([group])
        group.state = State.ABANDONED
        self.counts["abandoned"] += 1
        return group

    def take(self) -> Batch | None:
        """The next training step's groups; None while too few are ready or the policy waits.

        Raises ``RunFailed`` instead of handing out a token over its bound, as where ``evict`` was left out.
        """
        settings, version = self.settings, self.version
        later = settings.groups_per_version - self._consumed_at_version - settings.batch_groups
        if choosing.must_wait(self._pools, settings, version, later):
            return None
        preferred = self._preferred(self._pools.ready, "select", self._consumed_by_task)
        groups = choosing.step_groups(self._pools, preferred, settings, version, later, masks=self.policy.masks_tokens)
        entries = [taken(group, version, self._bound_of(group), masks=self.policy.masks_tokens) for group in groups]
        batch = Batch(step=self.step, version=version, groups=tuple(entries))
        check_bound(batch)
        if self._record:
            self._record.consume([group.key for group in groups], self.step)
        self._remove(groups)
        for group in groups:
            group.state, group.consumed_step = State.CONSUMED, self.step
        self._consumed_by_task.update(group.task for group in groups)
        self._consumed_at_version += len(groups)
        self.step += 1
        return batch

    def publish(self) -> int:
        """Weights are out; returns their version."""
        if self._record:
            self._record.publish(self.version + 1)
        self._consumed_at_version = 0
        return self._clock.publish()

    def adjust(self, bound_versions: int, window_groups: int | None) -> None:
        """Move bound and window from now on. Groups that were started keep their deadlines."""
        self.settings = replace(self.settings, bound_versions=bound_versions, window_groups=window_groups)
        self._examined_for = -1

    def _live(self, key: str) -> Group:
        if (group := self._pools.live.get(key)) is None:
            raise RunFailed(f"{key!r} is no live group of this run; it was consumed or abandoned, or never admitted")
        return group

    def _preferred(self, groups: Sequence[Group], point: Point, taken_groups: Mapping[str, float]) -> Sequence[Group]:
        return choosing.by_preference(
            groups, self._priority, self.settings, point=point, version=self.version, taken_groups=taken_groups
        )

    def _deadline(self, group: Group) -> int:
        """The last version at which a group that starts now, or has trajectories from before, may be consumed."""
        started = self.version if group.started_version is None else group.started_version
        return started + self.settings.bound_of(group.task)

    def _bound_of(self, group: Group) -> int:
        """s of the group: what it was started under; where tokens are masked, what holds now."""
        if self.policy.masks_tokens or group.started_version is None or group.state is State.WAITING:
            return self.settings.bound_of(group.task)
        return self._pools.deadline_of[group.key] - group.started_version

    def _is_given_up(self, group: Group, next_version: int) -> bool:
        """By the policy; and whatever the policy, where no step can take it any more, as after an early publication."""
        bound = self._bound_of(group)
        is_started = not self.policy.masks_tokens and group.started_version is not None
        if is_started and next_version - (group.started_version or 0) > bound:
            return True
        return group.state is not State.WAITING and gives_up(self.policy, group, next_version, bound)

    def _reopen(self, groups: list[Group], reason: str) -> list[Group]:
        if groups and self._record:
            self._record.reopen([group.key for group in groups], reason)
        self._pools.reopen(groups, evicted=reason == EVICTED)
        for group in groups:
            self._unexamined.pop(group.key, None)
        self.counts[reason] += len(groups)
        return groups

    def _remove(self, groups: list[Group]) -> None:
        self._pools.remove(groups)
        for group in groups:
            self._unexamined.pop(group.key, None)
            if not self._record and (group.attempt or group.missing):
                self._left_late.add(group.key)
