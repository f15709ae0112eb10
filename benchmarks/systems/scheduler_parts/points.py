"""What is compared in a cell: verl's modes at every warm-up, other baselines, and our policies with their options."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pangu_verl.scheduler.policies import Drop, Mask, Wait
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.cluster import design_cluster
from pangu_verl.simulate.outcome import Outcome
from pangu_verl.simulate.scenario import VERL, OnStep, Scenario, run_baseline, warm_ups
from pangu_verl.simulate.scheduled import run_scheduled
from pangu_verl.simulate.traces import named_trace
from pangu_verl.types import StalenessPolicy

from . import BATCH_GROUPS, ESTIMATE_SIGMA, SLOTS, TRAJECTORIES, WAVE_BATCHES
from .running import WavedTrace, cluster_of, drawn

#: "waves" are ours where prompts are admitted in waves of expected length.
Side = Literal["ours", "waves", "verl", "others"]

#: Options of ``mask``: (least fresh share, most evictions).
FLOORS = ((0.0, 0), (0.2, 1), (0.3, 1), (0.5, 1), (0.5, 2), (0.7, 2), (1.0, 3))
DROP_EVICTIONS = (1, 2)
WAVE_FLOORS = ((0.3, 1), (0.5, 2), (0.7, 2), (1.0, 3))
#: Of verl's drop on prompts that were put into the same waves beforehand, for information.
WAVE_WARM_UPS = (1.0, 1.5, 2.0, 2.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One way to run a cell: a policy of ours, or a baseline (with verl's warm-up in batches)."""

    name: str
    side: Side
    policy: StalenessPolicy | None = None
    baseline: str = ""
    warm_up_batches: float | None = None
    forwards_masked: bool = True
    in_waves: bool = False


def points_of(bound_versions: int) -> list[Point]:
    """All that have this bound; ``sync`` and ``one_step_off``, which have their own, are in ``unbounded_points``."""
    ours: Sequence[StalenessPolicy] = (
        Wait(),
        *(Drop(evictions) for evictions in DROP_EVICTIONS),
        *(Mask(floor, evictions) for floor, evictions in FLOORS),
    )
    waves: Sequence[StalenessPolicy] = (Wait(), Drop(2), *(Mask(floor, evictions) for floor, evictions in WAVE_FLOORS))
    verl = [
        Point(name=f"{mode}, warm-up {batches:g}", side="verl", baseline=mode, warm_up_batches=batches)
        for mode in VERL
        for batches in warm_ups(bound_versions)
    ]
    return [
        *(Point(name=_called(policy), side="ours", policy=policy) for policy in ours),
        *(Point(name=f"{_called(policy)}, in waves", side="waves", policy=policy, in_waves=True) for policy in waves),
        # For information: what it would bring to leave out rows of which every token is masked, as verl does not.
        Point(name="mask, floor 0.2, masked rows left out", side="others", policy=Mask(0.2, 1), forwards_masked=False),
        *verl,
        *(
            Point(
                name=f"verl_drop in waves, warm-up {batches:g}",
                side="others",
                baseline="verl_drop",
                warm_up_batches=batches,
                in_waves=True,
            )
            for batches in warm_ups(bound_versions)
            if batches in WAVE_WARM_UPS
        ),
        Point(name="admission only", side="others", baseline="admission"),
    ]


def _called(policy: StalenessPolicy) -> str:
    match policy:
        case Drop(evictions):
            return f"drop, {evictions} evictions"
        case Mask(floor, evictions):
            return f"mask, floor {floor:g}, {evictions} evictions"
    return policy.name


def unbounded_points() -> list[Point]:
    return [
        Point(name="synchronous", side="others", baseline="sync"),
        Point(name="one step off", side="others", baseline="one_step_off"),
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A trace, the training time T by the rollout time W, and the bound s in versions.

    ``BATCH_GROUPS`` are consumed between two publications, in ``steps_per_version`` steps (verl: parameter_sync_step).
    """

    trace: str
    train_to_rollout_ratio: float
    bound_versions: int
    steps_per_version: int

    def __str__(self) -> str:
        steps = "step" if self.steps_per_version == 1 else "steps"
        return (
            f"{self.trace}, s = {self.bound_versions}, T/W = {self.train_to_rollout_ratio:g}, "
            f"{self.steps_per_version} {steps} a version"
        )

    def scenario(self, seed: int, steps: int, *, takes_turns: bool = False) -> Scenario:
        trace = named_trace(self.trace, seed=seed, num_prompts=steps * BATCH_GROUPS, trajectories=TRAJECTORIES)
        trace = dataclasses.replace(trace, estimate_sigma=ESTIMATE_SIGMA)
        ratio = self.train_to_rollout_ratio
        cluster = design_cluster(ratio, slots=SLOTS) if takes_turns else cluster_of(ratio)
        return Scenario(
            trace=drawn(trace),
            cluster=cluster,
            steps=steps * self.steps_per_version,
            batch_groups=BATCH_GROUPS // self.steps_per_version,
            steps_per_version=self.steps_per_version,
        )

    def run(self, point: Point, seed: int, steps: int, on_step: OnStep | None = None) -> Outcome:
        scenario = self.scenario(seed, steps, takes_turns=point.baseline == "sync")
        scenario = dataclasses.replace(scenario, forwards_masked=point.forwards_masked)
        if point.policy is None:
            if point.in_waves:
                scenario = dataclasses.replace(scenario, trace=WavedTrace(scenario.trace, WAVE_BATCHES * BATCH_GROUPS))
            return run_baseline(
                point.baseline,
                scenario,
                self.bound_versions,
                warm_up_batches=point.warm_up_batches,
                on_step=on_step,
            )
        settings = SchedulerSettings(
            batch_groups=scenario.batch_groups,
            bound_versions=self.bound_versions,
            steps_per_version=self.steps_per_version,
            wave_groups=WAVE_BATCHES * BATCH_GROUPS if point.in_waves else None,
        )
        return run_scheduled(scenario, settings, point.policy, on_step=on_step).outcome
