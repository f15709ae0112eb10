"""Each priority term against first come, first served: what it changes, and what that costs.

Three tasks with unlike lengths, pass rates and shares; prompts carry an estimate of their length (an error of sigma 0.3
in its logarithm) and the pass rate of one earlier attempt. A term stands alone with its weight, at dispatch and at
selection; prompts, lengths and seeds are the same for all, so differences are taken seed by seed. A term has an effect
on a measure where the interval of the difference excludes 0 and its mean is larger than one point (0.01; ages: one
version). The weight that follows is 1, or -1, where a measure gains and neither fresh tokens nor trained length lose.
Admission in waves of expected length stands beside the terms: it is no term and has no weight.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pangu_verl.queue.priority import Priority
from pangu_verl.queue.terms.built_in import built_in_terms
from pangu_verl.scheduler.batch import Batch, TakenGroup
from pangu_verl.scheduler.policies import Mask, Wait
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.outcome import Outcome
from pangu_verl.simulate.scenario import Scenario, simulate
from pangu_verl.simulate.traces import LogNormalTrace, Task, named_trace
from pangu_verl.types import StalenessPolicy

from . import BATCH_GROUPS, ESTIMATE_SIGMA, TRAJECTORIES, WAVE_BATCHES, Scale
from .running import WatchedScheduler, cluster_of, drawn, run_all
from .spreads import paired_difference, spread
from .targets import Target

TASKS = (
    Task(name="maths", share=0.5, length_level=1.0, pass_rate=0.5),
    Task(name="code", share=0.3, length_level=1.6, pass_rate=0.3),
    Task(name="choice", share=0.2, length_level=0.4, pass_rate=0.8),
)
TARGET_SHARES = {"maths": 0.4, "code": 0.3, "choice": 0.3}
ARRIVAL_SHARES = {task.name: task.share for task in TASKS}
TRAIN_TO_ROLLOUT_RATIO = 0.5
TRACES = ("mid", "heavy")
BOUNDS_VERSIONS = (2, 4)
POLICIES: tuple[StalenessPolicy, ...] = (Mask(), Wait())

FIFO = "first come, first served"
#: What is measured, and whether more of it is better.
_IS_MORE_BETTER = {
    "fresh_token_share": True,
    "ceiling_share": True,
    "trained_length_ratio": True,
    **{f"trained_length_ratio/{task.name}": True for task in TASKS},
    "target_share_error": False,
    "batch_target_share_error": False,
    "arrival_share_error": False,
    "batch_arrival_share_error": False,
    "informativeness": True,
    "queue_age_p50_versions": False,
    "oldest_age_versions": False,
}
_LEAST_EFFECT = 0.01
_LEAST_EFFECT_VERSIONS = 1.0
_MUST_NOT_LOSE = ("fresh_token_share", "trained_length_ratio")


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One term with its weight, or admission in waves; neither: first come, first served.

    ``task_shares`` are what the tasks are to have.
    """

    name: str
    term: str = ""
    weight: float = 0.0
    aims_at_arrivals: bool = False
    in_waves: bool = False

    @property
    def task_shares(self) -> Mapping[str, float]:
        return ARRIVAL_SHARES if self.aims_at_arrivals else TARGET_SHARES

    def priority(self) -> Priority:
        return Priority(built_in_terms(), {self.term: self.weight} if self.term else {})


def orders() -> list[Order]:
    names = [term.name for term in built_in_terms()]
    single = [Order(name=f"{name} +1", term=name, weight=1.0) for name in names]
    return [
        Order(name=FIFO),
        *single,
        Order(name="expected_length -1", term="expected_length", weight=-1.0),
        Order(
            name="task_share_deficit +1, for the arrivals' shares",
            term="task_share_deficit",
            weight=1.0,
            aims_at_arrivals=True,
        ),
        Order(name="in waves", in_waves=True),
    ]


@dataclass(frozen=True, slots=True)
class _TermRun:
    trace: str
    bound_versions: int
    policy: StalenessPolicy
    order: Order
    seed: int
    steps: int

    def __call__(self) -> dict[str, float]:
        scenario = Scenario(
            trace=drawn(_mixed(self.trace, self.seed, self.steps)),
            cluster=cluster_of(TRAIN_TO_ROLLOUT_RATIO),
            steps=self.steps,
            batch_groups=BATCH_GROUPS,
        )
        settings = SchedulerSettings(
            batch_groups=BATCH_GROUPS,
            bound_versions=self.bound_versions,
            task_shares=self.order.task_shares,
            wave_groups=WAVE_BATCHES * BATCH_GROUPS if self.order.in_waves else None,
        )
        seen = _Seen()
        scheduler = WatchedScheduler(settings, self.policy, self.order.priority(), seen.see)
        outcome = simulate(scenario.plan(), scheduler, policy=self.policy.name, bound_versions=self.bound_versions)
        return seen.measures(outcome)


class _Seen:
    """Task shares and informativeness of the batches that were trained on."""

    def __init__(self) -> None:
        self._shares: list[dict[str, float]] = []
        self._variances: list[float] = []

    def see(self, batch: Batch) -> None:
        counts = Counter(entry.group.task for entry in batch.groups)
        self._shares.append({task: count / len(batch.groups) for task, count in counts.items()})
        self._variances += [_reward_variance(entry) for entry in batch.groups]

    def measures(self, outcome: Outcome) -> dict[str, float]:
        measures = {name: float(getattr(outcome, name)) for name in _IS_MORE_BETTER if hasattr(outcome, name)}
        for task, found in outcome.tasks.items():
            measures[f"trained_length_ratio/{task}"] = found.trained_length_ratio
        shares = {task: found.group_share for task, found in outcome.tasks.items()}
        for name, aims in (("target", TARGET_SHARES), ("arrival", ARRIVAL_SHARES)):
            measures[f"{name}_share_error"] = _share_error(shares, aims)
            by_batch = [_share_error(of_batch, aims) for of_batch in self._shares]
            measures[f"batch_{name}_share_error"] = statistics.fmean(by_batch)
        return measures | {"informativeness": statistics.fmean(self._variances)}


def _share_error(shares: Mapping[str, float], aims: Mapping[str, float]) -> float:
    return max(abs(shares.get(task, 0.0) - aim) for task, aim in aims.items())


def _reward_variance(entry: TakenGroup) -> float:
    """The unbiased estimate of p (1 - p) from the group's own rewards."""
    rewards = [trajectory.reward for trajectory in entry.group.finished.values() if trajectory.reward is not None]
    return statistics.variance(rewards)


def _mixed(name: str, seed: int, steps: int) -> LogNormalTrace:
    trace = named_trace(name, seed=seed, num_prompts=steps * BATCH_GROUPS, trajectories=TRAJECTORIES)
    return replace(trace, tasks=TASKS, estimate_sigma=ESTIMATE_SIGMA)


def measure(scale: Scale) -> dict[str, Any]:
    runs = [
        _TermRun(trace, bound, policy, order, seed, scale.steps)
        for trace in TRACES
        for seed in scale.seeds
        for bound in BOUNDS_VERSIONS
        for policy in POLICIES
        for order in orders()
    ]
    found = dict(zip(runs, run_all(runs, scale.processes), strict=True))
    cells = [
        {
            "name": f"{trace}, s = {bound}, {policy.name}",
            "orders": _compared(
                {
                    order.name: [
                        found[_TermRun(trace, bound, policy, order, seed, scale.steps)] for seed in scale.seeds
                    ]
                    for order in orders()
                }
            ),
        }
        for trace in TRACES
        for bound in BOUNDS_VERSIONS
        for policy in POLICIES
    ]
    return {
        "settings": _settings(scale),
        "cells": cells,
        "verdicts": [_verdict(order, cells) for order in orders() if order.name != FIFO],
    }


def _settings(scale: Scale) -> dict[str, Any]:
    return {
        "seeds": list(scale.seeds),
        "steps": scale.steps,
        "batch_groups": BATCH_GROUPS,
        "trajectories": TRAJECTORIES,
        "train_to_rollout_ratio": TRAIN_TO_ROLLOUT_RATIO,
        "policies": [str(policy) for policy in POLICIES],
        "estimate_sigma": ESTIMATE_SIGMA,
        "tasks": [
            {"name": task.name, "share": task.share, "length_level": task.length_level, "pass_rate": task.pass_rate}
            for task in TASKS
        ],
        "target_shares": TARGET_SHARES,
        "windows": "lookahead and overtaking of one batch, window of (s + 1) batches",
        "wave_batches": WAVE_BATCHES,
        "figures": "mean, lowest and highest over the seeds; differences: mean and 95% interval",
    }


def _compared(found: Mapping[str, Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Each order with its measures and, where it has a term, the differences to first come, first served."""
    rows = []
    for order in orders():
        ours, fifo = found[order.name], found[FIFO]
        row: dict[str, Any] = {
            "order": order.name,
            "measures": {name: spread([each[name] for each in ours]) for name in _IS_MORE_BETTER},
        }
        if order.name != FIFO:
            row["differences"] = {
                name: paired_difference([each[name] for each in ours], [each[name] for each in fifo])
                for name in _IS_MORE_BETTER
            }
        rows.append(row)
    return rows


def _verdict(order: Order, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """In which cells each measure gained or lost, and the weight that follows."""
    gains: dict[str, list[str]] = {}
    losses: dict[str, list[str]] = {}
    for cell in cells:
        differences = next(row["differences"] for row in cell["orders"] if row["order"] == order.name)
        for name, difference in differences.items():
            if has_effect(name, difference):
                is_gain = (difference[0] > 0) == _IS_MORE_BETTER[name]
                (gains if is_gain else losses).setdefault(name, []).append(cell["name"])
    is_worth_it = bool(gains) and not any(name in losses for name in _MUST_NOT_LOSE)
    return {
        "order": order.name,
        "gains": gains,
        "losses": losses,
        "recommended_weight": (order.weight if is_worth_it else 0.0) if order.term else None,
    }


def has_effect(name: str, difference: Sequence[float]) -> bool:
    mean, low, high = difference
    least = _LEAST_EFFECT_VERSIONS if name.endswith("versions") else _LEAST_EFFECT
    return (low > 0.0 or high < 0.0) and abs(mean) > least


def targets(figures: Mapping[str, Any]) -> list[Target]:
    """None is asked: the weights follow from what was found."""
    return []


def table(figures: Mapping[str, Any]) -> list[list[object]]:
    shown = (
        "fresh_token_share",
        "trained_length_ratio",
        "target_share_error",
        "batch_arrival_share_error",
        "informativeness",
    )
    rows: list[list[object]] = [["cell and order", *shown, "age p50", "oldest"]]
    for cell in figures["cells"]:
        for row in cell["orders"]:
            name = f"{cell['name']}: {row['order']}"
            ages = [row["measures"][age][0] for age in ("queue_age_p50_versions", "oldest_age_versions")]
            if "differences" not in row:
                rows.append([name, *(row["measures"][measure][0] for measure in shown), *ages])
                continue
            rows.append([name, *(_difference(measure, row) for measure in shown), *ages])
    rows += [[f"weight of {verdict['order']}", verdict["recommended_weight"], *[None] * (len(shown) + 1)]
             for verdict in figures["verdicts"]]  # fmt: skip
    return rows


def _difference(name: str, row: Mapping[str, Any]) -> str:
    """The mean, with a star where it is an effect."""
    difference = row["differences"][name]
    return f"{difference[0]:+.3f}{'*' if has_effect(name, difference) else ' '}"
