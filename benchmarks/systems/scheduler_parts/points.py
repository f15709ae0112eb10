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

from . import BATCH_GROUPS, SLOTS, TRAJECTORIES
from .running import cluster_of, drawn

Side = Literal["ours", "verl", "others"]

#: Options of ``mask``: (least fresh share, most evictions).
FLOORS = ((0.0, 0), (0.1, 1), (0.2, 1), (0.3, 1), (0.5, 1), (0.5, 2), (0.7, 2), (1.0, 1), (1.0, 3))
DROP_EVICTIONS = (1, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One way to run a cell: a policy of ours, or a baseline (with verl's warm-up in batches)."""

    name: str
    side: Side
    policy: StalenessPolicy | None = None
    baseline: str = ""
    warm_up_batches: float | None = None
    forwards_masked: bool = True


def points_of(bound_versions: int) -> list[Point]:
    """All that have this bound; ``sync`` and ``one_step_off``, which have their own, are in ``unbounded_points``."""
    ours: Sequence[tuple[str, StalenessPolicy]] = (
        ("wait", Wait()),
        *((f"drop, {evictions} evictions", Drop(evictions)) for evictions in DROP_EVICTIONS),
        *((f"mask, floor {floor:g}, {evictions} evictions", Mask(floor, evictions)) for floor, evictions in FLOORS),
    )
    verl = [
        Point(name=f"{mode}, warm-up {batches:g}", side="verl", baseline=mode, warm_up_batches=batches)
        for mode in VERL
        for batches in warm_ups(bound_versions)
    ]
    return [
        *(Point(name=name, side="ours", policy=policy) for name, policy in ours),
        # For information: what it would bring to leave out rows of which every token is masked, as verl does not.
        Point(name="mask, floor 0.2, masked rows left out", side="others", policy=Mask(0.2, 1), forwards_masked=False),
        *verl,
        Point(name="admission only", side="others", baseline="admission"),
    ]


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
        )
        return run_scheduled(scenario, settings, point.policy, on_step=on_step).outcome
