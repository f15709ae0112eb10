"""Single runs of many settings of one order: what a search for advice is made of.

Invariant: a trial's measures depend on order and trial alone. Over all steps they are those of ``shares``; over the
later steps only, the same formulas leave out how the run began. Which trials are worth a run is decided in ``search``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Self

from pangu_verl.errors import WrongUse
from pangu_verl.plugins import load_plugins
from pangu_verl.queue.priority import Priority
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.cluster import Cluster
from pangu_verl.simulate.order import Order
from pangu_verl.simulate.outcome import Outcome
from pangu_verl.simulate.scenario import Scenario
from pangu_verl.simulate.scheduled import run_scheduled
from pangu_verl.simulate.tally import StepFacts
from pangu_verl.types import StalenessPolicy

#: Floors of ``mask`` that are tried: the least share of a group's tokens that is fresh (project default).
MASK_FLOORS = (1.0, 0.8, 0.5, 0.2, 0.0)

Options = tuple[tuple[str, float], ...]


class Variant(NamedTuple):
    """A policy with its options."""

    policy: str
    options: Options = ()

    def __str__(self) -> str:
        return " ".join([self.policy, *(f"{name}={value:g}" for name, value in self.options)])


class Setting(NamedTuple):
    """What is chosen for a cluster. ``window_groups`` limits groups that run or are ready; ``replicas`` roll out."""

    variant: Variant
    bound_versions: int
    window_groups: int
    replicas: int


class Trial(NamedTuple):
    """One run. The first ``skipped_steps`` are not measured; ``added_replicas`` are bought and roll out."""

    setting: Setting
    seed: int
    steps: int
    skipped_steps: int = 0
    added_replicas: int = 0

    def to_json(self) -> dict[str, Any]:
        """The trial as plain objects, for records on disk."""
        (variant, *_), *run = self
        setting = dict(zip(Setting._fields[1:], self.setting[1:], strict=True))
        described = {"policy": variant.policy, "options": dict(variant.options), **setting}
        return described | dict(zip(self._fields[1:], run, strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """What came of a trial, over its measured steps; ``dropped_share``, ``wasted_token_share`` and ``bound_share`` over
    all. ``longest_tokens`` is the longest response that was consumed; the other names are those of ``Outcome``.
    """

    fresh_token_share: float
    trained_length_ratio: float
    ceiling_share: float
    bound_share: float
    trainer_idle_share: float
    rollout_idle_share: float
    masked_share: float
    dropped_share: float
    wasted_token_share: float
    mean_step_s: float
    trained_tokens_per_s: float
    longest_tokens: int

    @classmethod
    def mean(cls, measures: Sequence[Measures]) -> Self:
        """The mean of each; of ``longest_tokens`` the largest."""
        columns = {name: [getattr(found, name) for found in measures] for name in cls.__slots__}
        means = {name: math.fsum(values) / len(values) for name, values in columns.items()}
        return cls(**{**means, "longest_tokens": max(columns["longest_tokens"])})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Bench:
    """Runs trials of an order; traces are read once. Policies and terms are those of the plugins."""

    def __init__(self, order: Order) -> None:
        self._order = order
        plugins = load_plugins()
        plugins.require()
        self._policies = plugins.staleness_policies
        self._priority = Priority(list(plugins.priority_terms.values()), order.priority)
        self._scenarios: dict[int, Scenario] = {}

    def variants(self) -> tuple[Variant, ...]:
        """Every policy that is loaded: ``mask`` at each of its floors, the others as they are."""
        found: list[Variant] = []
        for name in self._policies:
            floors = MASK_FLOORS if name == "mask" else ()
            found += [Variant(name, (("least_fresh_share", floor),)) for floor in floors] or [Variant(name)]
        if not found:
            raise WrongUse("no staleness policy is loaded; run 'pangu-verl plugins' and load one")
        return tuple(found)

    def scenario(self, seed: int) -> Scenario:
        """The order's scenario with this seed, kept."""
        if seed not in self._scenarios:
            self._scenarios[seed] = self._order.scenario(seed)
        return self._scenarios[seed]

    def measure(self, trial: Trial) -> Measures:
        """Play a trial. ``WrongUse`` and ``RunFailed`` as the run raises them."""
        setting, plain = trial.setting, self.scenario(trial.seed)
        cluster = with_replicas(plain.cluster, trial.added_replicas)
        scenario = replace(
            plain,
            steps=trial.steps,
            cluster=cluster,
            rollout_share=share_of(cluster, setting.replicas + trial.added_replicas),
        )
        steps: list[StepFacts] = []
        settings = SchedulerSettings(
            batch_groups=self._order.batch_groups,
            bound_versions=setting.bound_versions,
            window_groups=setting.window_groups,
            wave_groups=self._order.wave_groups,
        )
        policy = self._policy(setting.variant)
        run = run_scheduled(scenario, settings, policy, priority=self._priority, on_step=steps.append)
        return measured(scenario, steps, trial.skipped_steps, run.outcome)

    def _policy(self, variant: Variant) -> StalenessPolicy:
        policy: Any = self._policies[variant.policy]
        chosen: StalenessPolicy = policy.with_options(dict(variant.options)) if variant.options else policy
        return chosen


def measured(scenario: Scenario, steps: Sequence[StepFacts], skipped_steps: int, outcome: Outcome) -> Measures:
    """The measures over ``steps`` without the first ``skipped_steps``."""
    ends_s = [0.0, *(step.begin_s + step.train_s for step in steps)]
    counted, begin_s = steps[skipped_steps:], ends_s[skipped_steps]
    passed_s = ends_s[-1] - begin_s
    lengths_s = [end - start for start, end in zip(ends_s[skipped_steps:], ends_s[skipped_steps + 1 :], strict=False)]
    trained = sum(step.trained_tokens for step in counted)
    workload = scenario.workload
    full_speed_s = workload.rollout_s(scenario.cluster) + workload.train_s(scenario.cluster)
    ceiling_share = full_speed_s * len(counted) / passed_s
    length_ratio = trained / (workload.tokens * len(counted))
    idle_s = math.fsum(step.rollout_idle_share * length for step, length in zip(counted, lengths_s, strict=True))
    return Measures(
        fresh_token_share=ceiling_share * length_ratio,
        trained_length_ratio=length_ratio,
        ceiling_share=ceiling_share,
        bound_share=outcome.bound_share,
        trainer_idle_share=1 - math.fsum(step.train_s for step in counted) / passed_s,
        rollout_idle_share=idle_s / passed_s,
        masked_share=1 - trained / sum(step.consumed_tokens for step in counted),
        dropped_share=outcome.dropped_share,
        wasted_token_share=outcome.wasted_token_share,
        mean_step_s=passed_s / len(counted),
        trained_tokens_per_s=trained / passed_s,
        longest_tokens=max(step.longest_tokens for step in counted),
    )


def with_replicas(cluster: Cluster, added: int) -> Cluster:
    """The cluster with ``added`` replicas more."""
    return cluster.model_copy(update={"devices": cluster.devices + added * cluster.devices_per_replica})


def share_of(cluster: Cluster, replicas: int) -> float:
    """The rollout share that gives exactly so many replicas."""
    return replicas * cluster.devices_per_replica / cluster.devices
