"""Our scheduler in a scenario: its guarantees hold over whole runs, and a controller's answers are carried out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import Group, State
from pangu_verl.scheduler.controllers import Adaptive
from pangu_verl.scheduler.guarantees import Guarantees
from pangu_verl.scheduler.policies import Drop, Mask, Wait
from pangu_verl.scheduler.readings import Decision, Reading
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.cluster import design_cluster
from pangu_verl.simulate.drift import Drift
from pangu_verl.simulate.scenario import Scenario
from pangu_verl.simulate.scheduled import run_scheduled
from pangu_verl.simulate.traces import named_trace
from pangu_verl.types import StalenessPolicy


def scenario(steps: int = 20, trace: str = "heavy") -> Scenario:
    return Scenario(
        trace=named_trace(trace, seed=1, num_prompts=16 * steps, trajectories=4),
        cluster=design_cluster(0.5, slots=64),
        steps=steps,
        batch_groups=16,
    )


@pytest.mark.parametrize("policy", [Wait(), Drop(), Mask(), Mask(least_fresh_share=1.0, most_evictions=2)])
@pytest.mark.parametrize("bound", [0, 1, 3])
def test_no_run_trains_on_a_token_over_its_bound(policy: StalenessPolicy, bound: int) -> None:
    settings = SchedulerSettings(batch_groups=16, bound_versions=bound)
    outcome = run_scheduled(scenario(), settings, policy).outcome
    assert outcome.violations == 0
    assert outcome.max_trained_lag <= Guarantees(settings).most_lag_versions


@pytest.mark.parametrize(("policy", "most"), [(Wait(), 1), (Drop(most_evictions=2), 3), (Mask(most_evictions=1), 2)])
def test_a_prompt_is_generated_no_more_often_than_promised(policy: StalenessPolicy, most: int) -> None:
    outcome = run_scheduled(scenario(), SchedulerSettings(batch_groups=16, bound_versions=1), policy).outcome
    assert outcome.most_attempts <= most


def test_wait_trains_on_whole_answers() -> None:
    outcome = run_scheduled(scenario(), SchedulerSettings(batch_groups=16, bound_versions=2), Wait()).outcome
    assert outcome.masked_share == outcome.dropped_share == 0.0


class Up:
    """Asks for one version more at each step, and keeps what it was told."""

    name = "up"

    def __init__(self) -> None:
        self.readings: list[Reading] = []

    def decide(self, reading: Reading, now: Decision) -> Decision:
        self.readings.append(reading)
        return Decision(now.bound_versions + 1, now.window_groups)


def test_a_controllers_answer_is_in_force_from_the_next_step() -> None:
    run = run_scheduled(
        scenario(steps=5), SchedulerSettings(batch_groups=16, bound_versions=1), Mask(), controller=Up()
    )
    assert [decision.bound_versions for decision in run.decisions] == [1, 2, 3, 4, 5]


def test_a_controller_is_told_of_idle_time_and_of_drift() -> None:
    controller = Up()
    settings = SchedulerSettings(batch_groups=16, bound_versions=2)
    run_scheduled(scenario(steps=12), settings, Mask(), controller=controller, drift=Drift(((0.0, 0.3),)))
    assert all(0.0 <= reading.trainer_idle_share <= 1.0 for reading in controller.readings)
    assert any(0.0 < (reading.effective_sample_share or 0.0) < 1.0 for reading in controller.readings)
    assert any(len(reading.effective_share_by_bound) > 1 for reading in controller.readings)


def test_without_drift_effective_tokens_are_the_fresh_ones() -> None:
    run = run_scheduled(scenario(), SchedulerSettings(batch_groups=16, bound_versions=2), Mask())
    assert run.effective_token_share == run.outcome.fresh_token_share


def test_the_adaptive_controller_lowers_the_bound_where_the_policy_moves_fast() -> None:
    settings = SchedulerSettings(batch_groups=16, bound_versions=6)
    fast = run_scheduled(scenario(40), settings, Mask(), controller=Adaptive(), drift=Drift(((0.0, 0.8),)))
    slow = run_scheduled(scenario(40), settings, Mask(), controller=Adaptive(), drift=Drift(((0.0, 0.01),)))
    assert fast.decisions[-1].bound_versions < 3 < slow.decisions[-1].bound_versions


class Wrong:
    """A controller of a third party that answers what cannot be carried out."""

    name = "wrong"

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def decide(self, reading: Reading, now: Decision) -> Decision:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer  # type: ignore[return-value]


@pytest.mark.parametrize("answer", [None, (2, 32), Decision(-1, 32), Decision(2, 3), ZeroDivisionError("oops")])
def test_a_controller_that_fails_is_named(answer: object) -> None:
    settings = SchedulerSettings(batch_groups=16, bound_versions=2)
    with pytest.raises(RunFailed, match="bound controller 'wrong'"):
        run_scheduled(scenario(steps=3), settings, Mask(), controller=Wrong(answer))


class Never:
    """A policy that gives up whatever comes."""

    name = "never"
    masks_tokens = True

    def is_waited_for(self, group: Group) -> bool:
        return False

    def gives_up(self, group: Group, next_version: int, bound_versions: int) -> bool:
        return group.state is State.READY


def test_a_policy_that_gives_up_whatever_comes_ends_the_run() -> None:
    with pytest.raises(RunFailed, match="was begun 1000 times and never trained on"):
        run_scheduled(scenario(steps=3), SchedulerSettings(batch_groups=16, bound_versions=2), Never())


def test_leaving_out_masked_rows_makes_a_run_no_slower() -> None:
    settings = SchedulerSettings(batch_groups=16, bound_versions=1)
    left_out = replace(scenario(), forwards_masked=False)
    all_rows, fewer_rows = (run_scheduled(each, settings, Mask()).outcome for each in (scenario(), left_out))
    assert fewer_rows.ceiling_share >= all_rows.ceiling_share
