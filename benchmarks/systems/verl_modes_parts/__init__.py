"""The parts of the benchmark of trainer modes, and the sizes and settings that they share.

Compute is paced (``plugins/pangu-verl-paced``): verl, Ray, TransferQueue and the scheduler are real, servers and
trainer sleep. Every mode meets the same prompts, lengths, devices and bound; modes whose servers have devices of their
own split the devices, the others use all of them in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

#: s, of every mode.
BOUND_VERSIONS = 2
TRAJECTORIES = 4
TRACE = "mid"
MEAN_TOKENS = 256
#: T/W: training time of a step's tokens on all devices, to their decoding time on all slots.
TRAIN_TO_ROLLOUT_RATIO = 0.5
#: Of the played cluster, in shares of a step at the ceiling.
PUBLICATION_SHARE = 0.03
#: verl's warm-ups that are swept, in batches; the best of a mode in the first repeat is the one that is repeated.
WARM_UPS = (1.0, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """``replicas`` are the devices in all, one replica each."""

    replicas: int
    slots_per_replica: int
    batch_groups: int

    @property
    def name(self) -> str:
        return f"{self.replicas} replicas"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """``measured_steps`` come after ``first_steps``, which fill the queue and are not measured.

    ``ceiling_step_s`` is what a step takes on the wall where no device is ever idle. Synchronous steps depend on
    nothing before them and take several times as long, so fewer of them do.
    """

    sizes: tuple[Size, ...]
    repeats: int
    first_steps: int
    measured_steps: int
    measured_steps_sync: int
    ceiling_step_s: float


FULL_SIZES = (
    Size(replicas=8, slots_per_replica=8, batch_groups=16),
    # As many trajectories: each costs verl's agent loops 40 ms of a processor, so more would fill the machine.
    Size(replicas=32, slots_per_replica=2, batch_groups=16),
)


def full_scale(repeats: int) -> Scale:
    """Two and a half hours on two cores with three repeats."""
    return Scale(
        sizes=FULL_SIZES,
        repeats=repeats,
        first_steps=4,
        measured_steps=20,
        measured_steps_sync=8,
        ceiling_step_s=3.0,
    )


#: To see that it runs: its figures are worth nothing.
QUICK = Scale(
    sizes=FULL_SIZES[:1], repeats=1, first_steps=2, measured_steps=3, measured_steps_sync=2, ceiling_step_s=3.0
)
