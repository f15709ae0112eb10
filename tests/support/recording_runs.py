"""Runs of a recording scheduler: one by hand in which every verb has its line, and random ones with random payloads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pangu_verl.queue.entries import Group, Prompt, Segment, State, Trajectory
from pangu_verl.queue.priority import Priority
from pangu_verl.queue.terms.built_in import built_in_terms
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.metrics import batch_metrics
from pangu_verl.scheduler.payloads import BatchArrays, Name, Payload, assemble, write_payloads
from pangu_verl.scheduler.policies import Drop
from pangu_verl.scheduler.recording import RecordingScheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import StalenessPolicy

TASKS = ("maths", "code", "chat")
#: What floating point tells apart and what JSON has to write in full.
ODD_REWARDS = (None, 0.0, -0.0, 0.1 + 0.2, 5e-324, -1.7976931348623157e308)


def prompts(*keys: str, trajectories: int = 1) -> list[Prompt]:
    return [Prompt(key=key, task="maths", trajectories=trajectories) for key in keys]


def answer(version: int, tokens: int = 5, reward: float | None = 0.5) -> Trajectory:
    return Trajectory((Segment(version, tokens),), reward)


def priority(**weights: float) -> Priority:
    return Priority(built_in_terms(), weights)


# A run by hand ---------------------------------------------------------------------------------------------------------

SETTINGS = SchedulerSettings(batch_groups=1, bound_versions=1)
POLICY = Drop(most_evictions=2)
#: What ``record_by_hand`` writes, a verb a line. Lines are counted from 1.
LINES = (
    "schedule", "admit", "dispatch", "complete", "complete", "evict", "take", "publish", "publish", "evict", "dispatch",
    "restart", "adjust", "abandon", "dispatch", "complete", "evict", "take",
)  # fmt: skip


def record_by_hand(path: Path) -> list[Batch]:
    """Two steps at versions 0 and 2, with a duplicate, an eviction, a lost server and an abandoned prompt between."""
    with RecordingScheduler(path, SETTINGS, POLICY) as scheduler:
        scheduler.admit(prompts("a", "b", "c"))
        scheduler.dispatch(8)
        scheduler.complete("a", 0, answer(0), 0)
        scheduler.complete("a", 0, answer(0, tokens=6), 0)
        scheduler.evict()
        batches = [scheduler.take()]
        scheduler.publish()
        scheduler.publish()
        scheduler.evict()
        scheduler.dispatch(8)
        scheduler.restart(["b", "c"])
        scheduler.adjust(2, 3)
        scheduler.abandon("b", "its prompt failed every time")
        scheduler.dispatch(8)
        scheduler.complete("c", 0, answer(2, reward=None), 1)
        scheduler.evict()
        batches.append(scheduler.take())
    assert all(batches)
    return [batch for batch in batches if batch is not None]


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def change_line(path: Path, number: int, **fields: Any) -> None:
    """Line ``number`` (from 1) says something else in these fields."""
    lines = events(path)
    lines[number - 1] |= fields
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


# Random runs -----------------------------------------------------------------------------------------------------------


def random_payload(draws: np.random.Generator, length: int) -> Payload:
    """Log-probabilities of any 32 bits, so NaNs with what they carry, infinities and both zeros among them."""
    bits = draws.integers(0, 2**32, length, dtype=np.uint32)
    reward = draws.choice(np.array([*ODD_REWARDS, float("nan"), draws.random()], dtype=object))
    return Payload(draws.integers(-(2**31), 2**31, length, dtype=np.int32), bits.view(np.float32), reward)


def contents(arrays: BatchArrays) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Type, shape and bytes of each array: equal only if every bit is."""
    every = (arrays.tokens, arrays.log_probs, arrays.loss_mask, arrays.rewards)
    return [(str(array.dtype), array.shape, array.tobytes()) for array in every]


@dataclass
class Step:
    """A batch as the trainer saw it. ``text`` shows every number of it in full."""

    text: str
    arrays: list[tuple[str, tuple[int, ...], bytes]]
    metrics: dict[str, float]

    @classmethod
    def of(cls, batch: Batch, payloads: dict[Name, Payload]) -> Step:
        return cls(repr(batch), contents(assemble(batch, payloads)), batch_metrics(batch))


@dataclass
class RandomRun:
    """Plays verbs at random in ``folder`` as a trainer could call them, and keeps what each step was given."""

    folder: Path
    seed: int
    settings: SchedulerSettings
    policy: StalenessPolicy
    priority: Priority
    steps: list[Step] = field(default_factory=list)
    _payloads: dict[Name, Payload] = field(default_factory=dict)
    _late: list[tuple[str, int, Trajectory, int]] = field(default_factory=list)
    _num_keys: int = 0
    _consumed_groups: int = 0

    @property
    def path(self) -> Path:
        return self.folder / "schedule.jsonl"

    def play(self, turns: int) -> RandomRun:
        self._draws = np.random.default_rng(self.seed)
        verbs: list[Callable[[], None]] = [
            *[self._admit] * 3, *[self._dispatch] * 6, *[self._complete] * 12, *[self._take] * 8, *[self._publish] * 4,
            self._evict, self._restart, self._answer_late, self._answer_twice, self._adjust, self._abandon,
        ]  # fmt: skip
        with RecordingScheduler(self.path, self.settings, self.policy, self.priority) as self._scheduler:
            for choice in self._draws.integers(0, len(verbs), turns):
                verbs[choice]()
        return self

    def _running(self) -> list[Group]:
        return [group for group in self._scheduler.live.values() if group.state is State.RUNNING]

    def _some_of(self, groups: list[Group]) -> Iterator[Group]:
        return (group for group in groups if self._draws.random() < 0.5)

    def _admit(self) -> None:
        new = []
        for _ in range(self._scheduler.capacity()):
            new.append(
                Prompt(
                    key=f"k{self._num_keys}",
                    task=TASKS[self._draws.integers(len(TASKS))],
                    trajectories=int(self._draws.integers(1, 4)),
                    row=self._num_keys,
                    expected_tokens=None if self._draws.random() < 0.3 else float(self._draws.lognormal(3, 1)),
                    pass_rate=None if self._draws.random() < 0.3 else float(self._draws.random()),
                )
            )
            self._num_keys += 1
        self._scheduler.admit(new)

    def _dispatch(self) -> None:
        self._scheduler.dispatch(int(self._draws.integers(0, 8)))

    def _trajectory(self, group: Group) -> Trajectory:
        """Under some of the versions since the group's start, of lengths with a long tail."""
        assert group.started_version is not None
        versions = range(group.started_version, self._scheduler.version + 1)
        made = [version for version in versions if self._draws.random() < 0.8] or [self._scheduler.version]
        reward = self._draws.choice(np.array([*ODD_REWARDS, self._draws.random()], dtype=object))
        return Trajectory(tuple(Segment(version, int(self._draws.lognormal(1, 1))) for version in made), reward)

    def _complete(self) -> None:
        for group in self._some_of(self._running()):
            is_straggler = group.order % 3 == 0
            if is_straggler and self._draws.random() < 0.9:
                continue
            missing = set(range(group.prompt.trajectories)) - set(group.finished)
            for member in list(missing)[: self._draws.integers(1, 4)]:
                made = self._trajectory(group)
                assert self._scheduler.complete(group.key, member, made, group.attempt)
                self._payloads[group.key, member] = random_payload(self._draws, made.tokens)

    def _answer_late(self) -> None:
        for key, member, made, attempt in self._late:
            if key in self._scheduler.live:
                assert not self._scheduler.complete(key, member, made, attempt)
        self._late.clear()

    def _answer_twice(self) -> None:
        for group in self._some_of(self._running()):
            for member in group.finished:
                assert not self._scheduler.complete(group.key, member, self._trajectory(group), group.attempt)

    def _evict(self) -> None:
        self._remember(self._scheduler.evict())

    def _restart(self) -> None:
        if self._draws.random() < 0.3:
            self._remember(self._scheduler.restart([group.key for group in self._some_of(self._running())]))

    def _remember(self, groups: list[Group]) -> None:
        self._late += [(group.key, 0, answer(0), group.attempt - 1) for group in groups]

    def _abandon(self) -> None:
        for group in list(self._scheduler.live.values())[: self._draws.integers(2)]:
            self._scheduler.abandon(group.key, "its prompt failed every time")

    def _adjust(self) -> None:
        window = None if self._draws.random() < 0.5 else int(self.settings.batch_groups + self._draws.integers(8))
        self._scheduler.adjust(int(self._draws.integers(0, 4)), window)

    def _take(self) -> None:
        self._evict()
        batch = self._scheduler.take()
        if batch is None:
            return
        self._consumed_groups += len(batch.groups)
        held = {entry.group.key for entry in batch.groups}
        own = [(name, payload) for name, payload in self._payloads.items() if name[0] in held]
        self._draws.shuffle(own)  # type: ignore[arg-type]
        write_payloads(self.folder / "payloads", batch.step, dict(own))
        self.steps.append(Step.of(batch, dict(own)))

    def _publish(self) -> None:
        # Before the version's last step a group could be left that cannot be in time any more.
        if self._consumed_groups >= self._scheduler.settings.groups_per_version or self.policy.masks_tokens:
            self._consumed_groups = 0
            self._scheduler.publish()
