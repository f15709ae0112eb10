"""What others do, for comparison: the selections of verl, of admission control alone, and of synchronous training.

Each follows the cited source in what is admitted, given up and selected; cluster, trace and trainer are the engine's,
the same as for our own scheduler. In their favour: no polling delay, one common queue for all servers in the order of
dispatch, and stale groups replaced at once, also while a step is training. verl's lending of idle trainer devices to
rollout is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from pangu_verl.queue.entries import Group, Prompt, State, Trajectory
from pangu_verl.scheduler.batch import Batch, TakenGroup


class _FirstComeSelection:
    """What the baselines share: groups start in the order of admission, whole groups are trained on, nothing is masked.

    ``bound_versions`` is what a run of this baseline is held against; whether it holds is the tally's to see.
    """

    def __init__(self, batch_groups: int, bound_versions: int, steps_per_version: int = 1) -> None:
        self.batch_groups = batch_groups
        self.groups_per_version = batch_groups * steps_per_version
        self.bound_versions = bound_versions
        self.version = 0
        self.num_admitted = 0
        self.num_consumed = 0
        self.num_steps = 0
        #: Groups that were admitted and not yet consumed, in the order of admission.
        self.groups: dict[str, Group] = {}
        self._waiting: deque[Group] = deque()
        self._num_ready = 0

    def capacity(self) -> int:
        raise NotImplementedError

    def admit(self, prompts: Sequence[Prompt]) -> list[Group]:
        groups = [
            Group(prompt=prompt, order=self.num_admitted + place, admitted_version=self.version)
            for place, prompt in enumerate(prompts)
        ]
        self.num_admitted += len(groups)
        self.groups |= {group.key: group for group in groups}
        self._waiting += groups
        return groups

    def dispatch(self, limit_groups: int) -> list[Group]:
        started = [self._waiting.popleft() for _ in range(min(limit_groups, len(self._waiting)))]
        for group in started:
            group.state, group.started_version = State.RUNNING, self.version
        return started

    def complete(self, key: str, member: int, trajectory: Trajectory, attempt: int) -> bool:
        group = self.groups[key]
        group.finished[member] = trajectory
        if not group.missing:
            group.state = State.READY
            self._num_ready += 1
        return True

    def evict(self) -> list[Group]:
        return []

    def restart(self, keys: Iterable[str]) -> list[Group]:
        """Lost groups go back to the head of the line."""
        lost = [self.groups[key] for key in keys]
        for group in reversed(lost):
            group.state, group.started_version, group.finished = State.WAITING, None, {}
            group.attempt += 1
            self._waiting.appendleft(group)
        return lost

    def take(self) -> Batch | None:
        if self._num_ready < self.batch_groups or self._must_wait():
            return None
        ready = sorted(self._ready(), key=self._age_key)[: self.batch_groups]
        for group in ready:
            self._leave(group)
            group.state, group.consumed_step = State.CONSUMED, self.num_steps
        self.num_consumed += len(ready)
        entries = tuple(TakenGroup(group, self.bound_versions, (0,) * len(group.finished)) for group in ready)
        self.num_steps += 1
        return Batch(step=self.num_steps - 1, version=self.version, groups=entries)

    def publish(self) -> int:
        self.version += 1
        return self.version

    def _must_wait(self) -> bool:
        return False

    def _age_key(self, group: Group) -> int:
        return group.order

    def _ready(self) -> list[Group]:
        return [group for group in self.groups.values() if group.state is State.READY]

    def _leave(self, group: Group) -> None:
        del self.groups[group.key]
        self._num_ready -= 1


class VerlDrop(_FirstComeSelection):
    """verl's asynchronous replay buffer with ``max_off_policy_strategy=drop`` (verl 0.9.1, trainer/ppo/v1).

    One batch of prompts is dispatched for each version and ``warm_up_batches`` more at the start (``trainer_base.py``:
    ``prepare_step``, ``_add_async_warmup_batches``). A prompt's age is counted from the step of its dispatch; finished
    groups whose age spans more than s + 1 versions are evicted and replaced by as many fresh prompts, and batches are
    taken oldest dispatch first (``replay_buffer.py``: ``_stale_terminal_keys``, ``wait_for_sampleable``). Groups that
    are still running are never aborted, however old.
    """

    def __init__(
        self, batch_groups: int, bound_versions: int, warm_up_batches: float, steps_per_version: int = 1
    ) -> None:
        super().__init__(batch_groups, bound_versions, steps_per_version)
        self._owed_groups = round(self.groups_per_version * (1 + warm_up_batches))
        self._trains = False

    def capacity(self) -> int:
        return self._owed_groups

    def admit(self, prompts: Sequence[Prompt]) -> list[Group]:
        self._owed_groups -= len(prompts)
        return super().admit(prompts)

    def publish(self) -> int:
        self._owed_groups += self.groups_per_version
        self._trains = False
        return super().publish()

    def take(self) -> Batch | None:
        batch = super().take()
        self._trains = batch is not None
        return batch

    def evict(self) -> list[Group]:
        """What is stale when a step is about to be sampled: verl does not look while it trains."""
        if self._trains:
            return []
        stale = [group for group in self._ready() if self._age(group) > self.bound_versions]
        for group in stale:
            self._leave(group)
        self._owed_groups += len(stale)
        return stale

    def _age(self, group: Group) -> int:
        return self.version - group.admitted_version

    def _age_key(self, group: Group) -> int:
        # A stable sort: of one dispatch step, who was admitted first.
        return group.admitted_version


class VerlWait(VerlDrop):
    """The same with ``max_off_policy_strategy=wait``: no step while a running group's age has reached s.

    (``replay_buffer.py``: ``_has_enough_samples``.)
    """

    def evict(self) -> list[Group]:
        return []

    def _must_wait(self) -> bool:
        return any(
            group.state is not State.READY and self._age(group) >= self.bound_versions for group in self.groups.values()
        )


class AdmissionOnly(_FirstComeSelection):
    """AReaL's capacity and nothing else: (s + V + 1) x B - (accepted + running), then whatever is ready, oldest first.

    (AReaL, infra/staleness_manager.py.) Stragglers exceed s: that is what ``violations`` then counts.
    """

    def capacity(self) -> int:
        return (self.bound_versions + self.version + 1) * self.groups_per_version - self.num_admitted


class Synchronous(_FirstComeSelection):
    """One batch after the other: rolled out, trained on, published. Its plan gives all devices to both jobs in turn."""

    def __init__(self, batch_groups: int) -> None:
        super().__init__(batch_groups, bound_versions=0)

    def capacity(self) -> int:
        return (self.version + 1) * self.batch_groups - self.num_admitted


class OneStepOff(_FirstComeSelection):
    """The next batch is rolled out while one is trained on (verl's one_step_off_policy): its lag is 1, never more.

    Weights are published when the rollout has ended too (a plan without partial rollouts): a batch is of one version.
    """

    def __init__(self, batch_groups: int) -> None:
        super().__init__(batch_groups, bound_versions=1)

    def capacity(self) -> int:
        return self.num_consumed + self.batch_groups - self.num_admitted
