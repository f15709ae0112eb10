"""Small simulated runs: traces whose lengths are written down, clusters in round numbers, and our own schedulers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pangu_verl.queue.entries import Prompt
from pangu_verl.scheduler.policies import Drop, Mask, Wait
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.cluster import Cluster
from pangu_verl.simulate.traces import Responses
from pangu_verl.types import StalenessPolicy

POLICIES: dict[str, StalenessPolicy] = {"wait": Wait(), "drop": Drop(), "mask": Mask()}


@dataclass(frozen=True)
class WrittenTrace:
    """Groups with these lengths, over and over; every attempt is of the same lengths."""

    groups: Sequence[Sequence[int]]
    question_tokens: int = 0
    name: str = "written"
    #: (index, attempt) of every group that was asked for.
    asked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def trajectories(self) -> int:
        return len(self.groups[0])

    @property
    def mean_tokens(self) -> float:
        return sum(map(sum, self.groups)) / len(self.groups) / self.trajectories

    def task_means(self) -> Mapping[str, float]:
        return {"any": self.mean_tokens}

    def prompt(self, index: int) -> Prompt:
        return Prompt(key=f"p{index}", task="any", trajectories=self.trajectories, row=index)

    def prompt_tokens(self, index: int) -> int:
        return self.question_tokens

    def responses(self, index: int, attempt: int) -> Responses:
        self.asked.append((index, attempt))
        lengths = list(self.groups[index % len(self.groups)])
        return Responses(lengths, [None] * len(lengths))


def small_cluster(**changes: object) -> Cluster:
    """Eight devices of one slot; a token takes a second, training a tenth of it on one device."""
    return Cluster.model_validate(
        {"devices": 8, "slots_per_device": 1, "decode_tokens_per_s": 1.0, "train_tokens_per_s": 10.0, **changes}
    )


def scheduler(policy: str, *, batch_groups: int, bound_versions: int, window_groups: int | None = None) -> Scheduler:
    settings = SchedulerSettings(batch_groups=batch_groups, bound_versions=bound_versions, window_groups=window_groups)
    return Scheduler(settings, POLICIES[policy])
