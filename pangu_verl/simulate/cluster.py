"""A cluster as the simulator sees it: devices, slots, speeds, pauses and failures, and its split between two jobs.

Invariant: a description that exists can be run. Speeds are means: nothing here is random, and no time passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pangu_verl.errors import WrongUse
from pangu_verl.simulate.checking import checked

#: Decode rate of one trajectory where nothing else is said, tokens/s (project default; all shares are free of it).
DECODE_TOKENS_PER_S = 50.0

Count = Annotated[int, Field(ge=1, strict=True)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Duration = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Cluster(BaseModel):
    """What a cluster can do.

    ``decode_tokens_per_s`` is the rate of one trajectory: a number, or pairs of (trajectories that run on the replica,
    rate of each), linear between and level outside. ``train_tokens_per_s`` is of one device, ``prefill_tokens_per_s``
    of one replica (None: prompts and interrupted contexts cost nothing). While weights are published
    (``publication_s``) replicas and trainer stand still; then each replica rebuilds the context of what it was running.
    Each replica fails at exponential times with mean ``mean_time_between_failures_s`` (None: never), loses what it was
    running and is back after ``restart_s``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: Annotated[int, Field(ge=2, le=1_000_000, strict=True)]
    slots_per_device: Annotated[int, Field(ge=1, le=10_000, strict=True)]
    devices_per_replica: Count = 1
    decode_tokens_per_s: Rate | tuple[tuple[Count, Rate], ...] = DECODE_TOKENS_PER_S
    train_tokens_per_s: Rate
    prefill_tokens_per_s: Rate | None = None
    publication_s: Duration = 0.0
    mean_time_between_failures_s: Rate | None = None
    restart_s: Duration = 0.0

    @model_validator(mode="after")
    def _check_together(self) -> Cluster:
        if self.devices_per_replica >= self.devices:
            raise ValueError(
                f"one replica of {self.devices_per_replica} devices leaves none of {self.devices} to train on"
            )
        curve = self.decode_tokens_per_s
        if not isinstance(curve, float) and (not curve or any(left[0] >= right[0] for left, right in pairwise(curve))):
            raise ValueError("decode_tokens_per_s needs one pair or more, by rising numbers of trajectories")
        return self

    @property
    def slots(self) -> int:
        """Decode slots of all devices, K."""
        return self.devices * self.slots_per_device

    @property
    def slots_per_replica(self) -> int:
        return self.devices_per_replica * self.slots_per_device

    def decode_rates(self) -> list[float]:
        """Tokens/s of one trajectory, by the number that runs on its replica (0..slots_per_replica)."""
        running = np.arange(self.slots_per_replica + 1)
        curve = self.decode_tokens_per_s
        numbers, rates = zip(*([(1, curve)] if isinstance(curve, float) else curve), strict=True)
        found: list[float] = np.interp(running, numbers, rates).tolist()
        return found

    def split(self, rollout_share: float) -> Split:
        """Devices for rollout and trainer: the nearest whole number of replicas, at least one, one device to train."""
        wanted = round(rollout_share * self.devices / self.devices_per_replica)
        most = (self.devices - 1) // self.devices_per_replica
        replicas = min(max(wanted, 1), most)
        return Split(replicas=replicas, trainer_devices=self.devices - replicas * self.devices_per_replica)

    def shared(self) -> Split:
        """All devices for both jobs, which then take turns."""
        return Split(replicas=self.devices // self.devices_per_replica, trainer_devices=self.devices)


@dataclass(frozen=True, slots=True)
class Split:
    """Replicas that roll out, and devices that train."""

    replicas: int
    trainer_devices: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What a step is: B groups of n trajectories, and their mean natural length."""

    batch_groups: int
    trajectories: int
    mean_tokens: float

    @property
    def tokens(self) -> float:
        """Tokens of a step of natural length."""
        return self.batch_groups * self.trajectories * self.mean_tokens

    def rollout_s(self, cluster: Cluster) -> float:
        """W: the step's tokens x time per token (of a full replica) / all decode slots."""
        return self.tokens / (cluster.decode_rates()[-1] * cluster.slots)

    def train_s(self, cluster: Cluster) -> float:
        """T: training time of the step's tokens on all devices."""
        return self.tokens / (cluster.train_tokens_per_s * cluster.devices)

    def best_rollout_share(self, cluster: Cluster) -> float:
        """f = W / (W + T): the share of devices with which neither job waits for the other's work."""
        rollout_s = self.rollout_s(cluster)
        return rollout_s / (rollout_s + self.train_s(cluster))


def design_cluster(train_to_rollout_ratio: float, *, slots: int = 512) -> Cluster:
    """The cluster of the design's traces: ``slots`` devices of one slot each, a level decode rate, no pauses.

    ``train_to_rollout_ratio`` is T/W, over 0.
    """
    if not 0 < train_to_rollout_ratio < math.inf:
        raise WrongUse(f"the train-to-rollout ratio T/W is a number over 0, not {train_to_rollout_ratio}")
    if slots < 2:
        raise WrongUse("one group of one trajectory makes a cluster of one device, which cannot be split; ask for more")
    return Cluster(devices=slots, slots_per_device=1, train_tokens_per_s=DECODE_TOKENS_PER_S / train_to_rollout_ratio)


def describe_cluster(found: Mapping[str, object], where: str) -> Cluster:
    """A cluster out of the fields of a description; raises ``WrongUse`` that begins with ``where``."""
    return checked(Cluster, found, where)
