"""Scenarios to compare policies in, and the runs of the baselines in them.

Invariant: every run of a scenario meets the same prompts, lengths, devices and failures; only who decides differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pangu_verl.errors import WrongUse
from pangu_verl.simulate.baselines import AdmissionOnly, OneStepOff, Synchronous, VerlDrop, VerlWait
from pangu_verl.simulate.cluster import Cluster, Workload
from pangu_verl.simulate.engine import Engine, Plan
from pangu_verl.simulate.outcome import Outcome
from pangu_verl.simulate.selection import Selection
from pangu_verl.simulate.shares import measure
from pangu_verl.simulate.tally import StepFacts
from pangu_verl.simulate.traces import Trace

OnStep = Callable[[StepFacts], None]

VERL = {"verl_drop": VerlDrop, "verl_wait": VerlWait}
#: Names of the baselines, as ``pangu-verl simulate --policy`` takes them.
BASELINES = ("sync", *VERL, "admission", "one_step_off")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """A trace on a cluster for ``steps`` steps of ``batch_groups`` groups (defaults: the design's).

    There are ``steps_per_version`` steps between two publications (verl: ``parameter_sync_step``, 4 by default).
    ``rollout_share`` of the devices roll out (None: f = W / (W + T)). ``seed`` is that of the failures.
    """

    trace: Trace
    cluster: Cluster
    steps: int = 200
    batch_groups: int = 64
    rollout_share: float | None = None
    steps_per_version: int = 1
    forwards_masked: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_groups < 1:
            raise WrongUse(f"batch_groups is at least 1, not {self.batch_groups}")
        if self.rollout_share is not None and not 0 < self.rollout_share < 1:
            raise WrongUse(f"rollout_share lies between 0 and 1, not {self.rollout_share}")

    @property
    def workload(self) -> Workload:
        return Workload(
            batch_groups=self.batch_groups, trajectories=self.trace.trajectories, mean_tokens=self.trace.mean_tokens
        )

    def plan(self, *, partial_rollouts: bool = True, takes_turns: bool = False) -> Plan:
        """A run of this scenario; with ``takes_turns`` all devices do both jobs, one after the other."""
        share = self.rollout_share or self.workload.best_rollout_share(self.cluster)
        return Plan(
            trace=self.trace,
            cluster=self.cluster,
            split=self.cluster.shared() if takes_turns else self.cluster.split(share),
            steps=self.steps,
            steps_per_version=self.steps_per_version,
            forwards_masked=self.forwards_masked,
            partial_rollouts=partial_rollouts,
            seed=self.seed,
        )


def simulate(
    plan: Plan, selection: Selection, *, policy: str, bound_versions: int, on_step: OnStep | None = None
) -> Outcome:
    """Run ``plan`` under ``selection`` and measure it; ``policy`` and ``bound_versions`` are what the outcome says."""
    tally = Engine(plan, selection).run(on_step)
    return measure(plan, tally, policy=policy, bound_versions=bound_versions)


def run_baseline(
    name: str,
    scenario: Scenario,
    bound_versions: int,
    *,
    warm_up_batches: float | None = None,
    on_step: OnStep | None = None,
) -> Outcome:
    """One run of a baseline.

    ``warm_up_batches`` is verl's (None: s); the bounds of ``sync`` and ``one_step_off`` are 0 and 1 whatever is asked.
    """
    batch = scenario.batch_groups
    plan = scenario.plan()
    selection: Selection
    if name in VERL:
        warm_up_batches = bound_versions if warm_up_batches is None else warm_up_batches
        selection = VERL[name](batch, bound_versions, warm_up_batches, scenario.steps_per_version)
    elif name == "admission":
        selection = AdmissionOnly(batch, bound_versions, scenario.steps_per_version)
    elif name == "sync":
        selection, bound_versions, plan = Synchronous(batch), 0, scenario.plan(partial_rollouts=False, takes_turns=True)
    elif name == "one_step_off":
        selection, bound_versions, plan = OneStepOff(batch), 1, scenario.plan(partial_rollouts=False)
    else:
        raise WrongUse(f"unknown baseline {name!r} (known: {', '.join(BASELINES)}); name one of them")
    return simulate(plan, selection, policy=name, bound_versions=bound_versions, on_step=on_step)


@dataclass(frozen=True, slots=True)
class WarmUpSweep:
    """A verl mode at each warm-up, in batches of a version."""

    outcomes: Mapping[float, Outcome]

    @property
    def best_warm_up_batches(self) -> float:
        """The warm-up with the highest fresh-token share; of equals the smallest."""
        return max(self.outcomes, key=lambda batches: (self.outcomes[batches].fresh_token_share, -batches))

    @property
    def best(self) -> Outcome:
        return self.outcomes[self.best_warm_up_batches]


def warm_ups(bound_versions: int) -> list[float]:
    """What is swept: verl takes fractions, so every half of a batch from 0 to s + 1/2."""
    return [half / 2 for half in range(2 * bound_versions + 2)]


def sweep_warm_up(name: str, scenario: Scenario, bound_versions: int, *, on_step: OnStep | None = None) -> WarmUpSweep:
    """``verl_drop`` or ``verl_wait`` at the ``warm_ups`` of the bound."""
    if name not in VERL:
        raise WrongUse(f"{name!r} has no warm-up (those with one: {', '.join(VERL)}); name one of them")
    return WarmUpSweep(
        {
            batches: run_baseline(name, scenario, bound_versions, warm_up_batches=batches, on_step=on_step)
            for batches in warm_ups(bound_versions)
        }
    )
