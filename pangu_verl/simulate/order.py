"""What a user asks to be simulated, in names and numbers, and its runs, one for each seed.

Invariant: everything is checked before the first run begins. Policies, controllers and terms are those of the plugins.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol, TypeVar

import yaml  # type: ignore[import-untyped]

from pangu_verl.errors import WrongUse
from pangu_verl.plugins import load_plugins
from pangu_verl.queue.priority import Priority
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.cluster import Cluster, describe_cluster, design_cluster
from pangu_verl.simulate.drift import Drift
from pangu_verl.simulate.outcome import Outcome
from pangu_verl.simulate.recorded import open_trace
from pangu_verl.simulate.scenario import BASELINES, VERL, OnStep, Scenario, run_baseline, sweep_warm_up, warm_ups
from pangu_verl.simulate.scheduled import ScheduledRun, run_scheduled
from pangu_verl.simulate.traces import LogNormalTrace

#: With a priority or in waves, prompts of synthetic traces carry an expected length with this error (sigma of its
#: logarithm) and the pass rate of one earlier attempt, as from an epoch before (project default).
ESTIMATE_SIGMA = 0.3


class _Named(Protocol):
    name: str


AnyNamed = TypeVar("AnyNamed", bound=_Named)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Defaults are the design's: B = 64 groups of n = 8 on K = 512 slots, 200 steps, T/W = 0.5.

    ``cluster`` is a YAML or JSON file with the fields of ``Cluster``; without it the design's, whose speeds
    ``train_to_rollout_ratio`` sets. ``drift`` per version is what a controller is told of (``drift``).
    """

    policy: str = "mask"
    staleness: int = 2
    trace: str = "mid"
    train_to_rollout_ratio: float = 0.5
    steps: int = 200
    seeds: int = 1
    first_seed: int = 0
    batch_groups: int = 64
    trajectories: int = 8
    window_groups: int | None = None
    wave_groups: int | None = None
    rollout_share: float | None = None
    warm_up_batches: float | None = None
    cluster: Path | None = None
    drift: float | None = None
    controller: str | None = None
    controller_options: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, float] = field(default_factory=dict)
    priority: Mapping[str, float] = field(default_factory=dict)

    def scenario(self, seed: int) -> Scenario:
        prompts = self.batch_groups * self.steps
        trace = open_trace(self.trace, seed=seed, num_prompts=prompts, trajectories=self.trajectories)
        if isinstance(trace, LogNormalTrace) and (self.priority or self.wave_groups):
            trace = dataclasses.replace(trace, estimate_sigma=ESTIMATE_SIGMA)
        elif self.wave_groups:
            raise WrongUse(f"--wave orders by expected lengths, and {self.trace} carries none; leave it out")
        return Scenario(
            trace=trace,
            cluster=self._cluster(),
            steps=self.steps,
            batch_groups=self.batch_groups,
            rollout_share=self.rollout_share,
            seed=seed,
        )

    def _cluster(self) -> Cluster:
        if self.cluster is None:
            return design_cluster(self.train_to_rollout_ratio, slots=self.batch_groups * self.trajectories)
        return read_cluster(self.cluster)


def read_cluster(path: Path) -> Cluster:
    """A cluster from a YAML or JSON file. Raises ``WrongUse`` with file and field."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WrongUse(
            f"{path}: expected a YAML file that describes a cluster: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(found, dict):
        raise WrongUse(f"{path}: expected the fields of a cluster (devices, slots_per_device, ...), got {found!r}")
    return describe_cluster(found, str(path))


def run_order(order: Order, on_step: OnStep | None = None) -> list[Outcome]:
    """One outcome for each seed. ``on_step`` is told of every training step."""
    run = prepare(order)
    return [run(order.first_seed + number, on_step) for number in range(order.seeds)]


def prepare(order: Order) -> Callable[[int, OnStep | None], Outcome]:
    """The order's run, to be called with a seed; raises ``WrongUse`` for whatever cannot work."""
    if order.seeds < 1:
        raise WrongUse(f"--seeds is at least 1, not {order.seeds}")
    if order.policy in BASELINES:
        _refuse_for_baseline(order)
        order.scenario(order.first_seed)
        if order.policy in VERL and order.warm_up_batches is None:
            return lambda seed, on_step: _best_of_sweep(order, order.scenario(seed), on_step)
        return lambda seed, on_step: run_baseline(
            order.policy,
            order.scenario(seed),
            order.staleness,
            warm_up_batches=order.warm_up_batches,
            on_step=on_step,
        )
    if order.warm_up_batches is not None:
        raise WrongUse(f"--warm-up belongs to verl_drop and verl_wait, not to {order.policy!r}; leave it out")
    plugins = load_plugins()
    plugins.require()
    policy = _configured(_named("policy", plugins.staleness_policies, order.policy, BASELINES), order.options)
    priority = Priority(list(plugins.priority_terms.values()), order.priority)
    settings = SchedulerSettings(
        batch_groups=order.batch_groups,
        bound_versions=order.staleness,
        window_groups=order.window_groups,
        wave_groups=order.wave_groups,
    )
    controller = None
    if order.controller is not None:
        controller = _named("controller", plugins.bound_controllers, order.controller)
        controller = _configured(controller, order.controller_options)
    elif order.drift is not None or order.controller_options:
        raise WrongUse(
            "--drift and --controller-option are for a controller; name one with --controller, or leave them out"
        )
    drift = None if order.drift is None else Drift(((0.0, order.drift),))

    order.scenario(order.first_seed)

    def run(seed: int, on_step: OnStep | None) -> Outcome:
        found = run_scheduled(
            order.scenario(seed),
            settings,
            policy,
            priority=priority,
            # A controller may remember its run: each run has its own, as it was registered.
            controller=copy.deepcopy(controller),
            drift=drift,
            on_step=on_step,
        )
        return found.outcome if controller is None else _controlled(found)

    return run


def runs_a_seed(order: Order) -> int:
    """How many runs each seed takes: one, or verl's sweep of warm-ups."""
    is_swept = order.policy in VERL and order.warm_up_batches is None
    return len(warm_ups(order.staleness)) if is_swept else 1


def _best_of_sweep(order: Order, scenario: Scenario, on_step: OnStep | None) -> Outcome:
    swept = sweep_warm_up(order.policy, scenario, order.staleness, on_step=on_step)
    return dataclasses.replace(swept.best, warm_up_batches=swept.best_warm_up_batches)


def _controlled(run: ScheduledRun) -> Outcome:
    """The outcome, with the course of the bound."""
    bounds = [decision.bound_versions for decision in run.decisions]
    course = {"least": min(bounds), "most": max(bounds), "last": bounds[-1]}
    return dataclasses.replace(run.outcome, bound_course=course)


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """One record for all seeds: means of shares and times, sums of ``violations``, the largest of what is a maximum."""
    first = outcomes[0].to_json()
    merged: dict[str, Any] = {}
    for name, value in first.items():
        values = [getattr(outcome, name) for outcome in outcomes]
        if name in ("violations", "restarted_groups"):
            merged[name] = sum(values)
        elif name.startswith(("max_", "most_", "oldest_")) or "_max_" in name:
            merged[name] = max(values)
        elif isinstance(value, int | float) and len(set(values)) > 1:
            merged[name] = fmean(values)
        else:
            merged[name] = value
    if len(outcomes) > 1:
        merged.pop("tasks")
    return merged | {"seeds": len(outcomes), "outcomes": [outcome.to_json() for outcome in outcomes]}


def _refuse_for_baseline(order: Order) -> None:
    given = {
        "--option": order.options,
        "--priority": order.priority,
        "--window": order.window_groups,
        "--wave": order.wave_groups,
        "--controller": order.controller,
        "--controller-option": order.controller_options,
        "--drift": order.drift,
        "--warm-up": None if order.policy in VERL else order.warm_up_batches,
        "--rollout-share": order.rollout_share if order.policy == "sync" else None,
    }
    if names := [name for name, value in given.items() if value not in (None, {})]:
        raise WrongUse(
            f"the baseline {order.policy!r} does not take {', '.join(names)}; leave out what it does not take"
        )


def _named(what: str, known: Mapping[str, AnyNamed], name: str, others: tuple[str, ...] = ()) -> AnyNamed:
    if name not in known:
        raise WrongUse(
            f"unknown {what} {name!r} (known: {', '.join((*known, *others))}); is its plugin installed? "
            "run 'pangu-verl plugins'"
        )
    return known[name]


def _configured(candidate: AnyNamed, options: Mapping[str, float]) -> AnyNamed:
    if not options:
        return candidate
    if (with_options := getattr(candidate, "with_options", None)) is None:
        raise WrongUse(
            f"{candidate.name!r} takes no options, but {', '.join(options)} came; leave out what it does not take"
        )
    configured: AnyNamed = with_options(options)
    return configured
