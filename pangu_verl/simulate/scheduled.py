"""Runs of our own scheduler in a scenario: the same object that schedules a cluster, with its controller.

Invariant: nothing is decided here. The controller is told what the engine measured over each step, and its answer is in
force from the next step on.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pangu_verl.queue.priority import Priority
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.metrics import tokens_by_lag, trained_tokens_by_lag
from pangu_verl.scheduler.readings import Decision, Reading
from pangu_verl.scheduler.record import Record
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.scheduler.steering import in_force, steer
from pangu_verl.simulate.drift import (
    Drift,
    effective_sample_share,
    effective_share_by_bound,
    mean_absolute_log_ratio,
)
from pangu_verl.simulate.engine import Engine
from pangu_verl.simulate.outcome import Outcome
from pangu_verl.simulate.scenario import OnStep, Scenario
from pangu_verl.simulate.shares import measure
from pangu_verl.simulate.tally import StepFacts
from pangu_verl.types import BoundController, StalenessPolicy


@dataclass(frozen=True, slots=True)
class ScheduledRun:
    """``decisions`` are the bound and window of each step. ``effective_token_share`` is the fresh-token share with each
    step's tokens counted by their effective sample share under the drift; the two are equal where nothing drifts.
    """

    outcome: Outcome
    decisions: tuple[Decision, ...]
    effective_token_share: float


def run_scheduled(
    scenario: Scenario,
    settings: SchedulerSettings,
    policy: StalenessPolicy,
    *,
    priority: Priority | None = None,
    controller: BoundController | None = None,
    drift: Drift | None = None,
    record: Record | None = None,
    on_step: OnStep | None = None,
) -> ScheduledRun:
    """One run under ``policy``; without ``drift`` nothing is known of stale tokens. ``RunFailed`` on a standstill."""
    steering = _Steering(settings, policy, priority, record, scenario.steps, controller, drift)

    def after_step(facts: StepFacts) -> None:
        steering.steer(facts)
        if on_step is not None:
            on_step(facts)

    plan = dataclasses.replace(scenario, steps_per_version=settings.steps_per_version).plan()
    tally = Engine(plan, steering).run(after_step)
    # What was in force, where a controller moved it: the largest.
    bounds = [decision.bound_versions for decision in steering.decisions]
    bound = max(*bounds, settings.bound_versions, *settings.task_bounds.values())
    outcome = measure(plan, tally, policy=policy.name, bound_versions=bound)
    effective = steering.effective_tokens / max(steering.trained_tokens, 1)
    return ScheduledRun(outcome, tuple(steering.decisions), outcome.fresh_token_share * effective)


class _Steering(Scheduler):
    """The scheduler, with an eye on what it hands out and a controller's hand on its bound."""

    def __init__(
        self,
        settings: SchedulerSettings,
        policy: StalenessPolicy,
        priority: Priority | None,
        record: Record | None,
        steps: int,
        controller: BoundController | None,
        drift: Drift | None,
    ) -> None:
        super().__init__(settings, policy, priority, record)
        self.decisions: list[Decision] = []
        self.trained_tokens = 0
        self.effective_tokens = 0.0
        self._steps = steps
        self._controller = controller
        self._drift = drift
        self._batch: Batch | None = None

    def take(self) -> Batch | None:
        batch = super().take()
        self._batch = batch or self._batch
        return batch

    def steer(self, facts: StepFacts) -> None:
        assert self._batch is not None
        self.decisions.append(in_force(self))
        lags = trained_tokens_by_lag(self._batch)
        effective, log_ratio, by_bound = None, None, {}
        if self._drift is not None:
            drift = self._drift.at(facts.step / self._steps)
            effective, log_ratio = effective_sample_share(lags, drift), mean_absolute_log_ratio(lags, drift)
            if self.policy.masks_tokens:
                by_bound = effective_share_by_bound(tokens_by_lag(self._batch), drift)
        self.trained_tokens += facts.trained_tokens
        self.effective_tokens += facts.trained_tokens * (1.0 if effective is None else effective)
        if self._controller is None:
            return
        reading = Reading(
            batch_groups=self.settings.batch_groups,
            trainer_idle_share=facts.trainer_idle_share,
            rollout_idle_share=facts.rollout_idle_share,
            effective_sample_share=effective,
            mean_absolute_log_ratio=log_ratio,
            effective_share_by_bound=by_bound,
        )
        steer(self, self._controller, reading)
