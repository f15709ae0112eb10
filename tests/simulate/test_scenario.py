"""Outcomes of whole scenarios: the shares' definitions, and the figures of the prototypes."""

from __future__ import annotations

import json
from functools import cache

import pytest
from simulate_runs import scheduler

from pangu_verl.errors import WrongUse
from pangu_verl.simulate.cluster import design_cluster
from pangu_verl.simulate.outcome import Outcome
from pangu_verl.simulate.scenario import BASELINES, Scenario, run_baseline, simulate, sweep_warm_up
from pangu_verl.simulate.traces import LogNormalTrace, Task, named_trace

#: What the design document asks of ``simulate --json``.
KEYS = {
    "policy",
    "staleness_bound",
    "trace",
    "train_to_rollout_ratio",
    "ceiling_share",
    "bound_share",
    "fresh_token_share",
    "trained_length_ratio",
    "masked_share",
    "dropped_share",
    "max_trained_lag",
    "violations",
}


@cache
def design(steps: int = 100) -> Scenario:
    """The mid trace at T/W = 0.5."""
    return Scenario(trace=named_trace("mid", seed=0, num_prompts=64 * steps), cluster=design_cluster(0.5), steps=steps)


@cache
def baseline(name: str) -> Outcome:
    return run_baseline(name, design(), 2)


@cache
def ours(policy: str, window_groups: int | None = None) -> Outcome:
    selection = scheduler(policy, batch_groups=64, bound_versions=2, window_groups=window_groups)
    return simulate(design().plan(), selection, policy=policy, bound_versions=2)


@pytest.mark.parametrize(
    ("name", "ceiling", "ratio", "fresh"),
    [("verl_drop", 0.83, 0.70, 0.58), ("verl_wait", 0.46, 1.0, 0.46)],
)
def test_verl_comes_out_as_in_the_prototype(name: str, ceiling: float, ratio: float, fresh: float) -> None:
    outcome = baseline(name)
    assert outcome.ceiling_share == pytest.approx(ceiling, abs=0.02)
    assert outcome.trained_length_ratio == pytest.approx(ratio, abs=0.02)
    assert outcome.fresh_token_share == pytest.approx(fresh, abs=0.02)
    assert outcome.violations == 0


def test_masking_with_a_floor_comes_out_as_in_the_prototype() -> None:
    outcome = ours("mask", 160)
    assert outcome.ceiling_share == pytest.approx(0.87, abs=0.02)
    assert outcome.trained_length_ratio == pytest.approx(0.72, abs=0.02)
    assert outcome.fresh_token_share == pytest.approx(0.63, abs=0.02)


def test_admission_alone_is_fast_and_breaks_the_bound() -> None:
    """Anchors: 92% of the ceiling at s = 2, lags up to 6."""
    outcome = baseline("admission")
    assert outcome.ceiling_share == pytest.approx(0.92, abs=0.03)
    assert outcome.violations > 0 and outcome.max_trained_lag > 2


def test_synchronous_training_is_the_anchors_fraction_of_the_ceiling() -> None:
    """Anchors: the ceiling is 5.61 times as fast."""
    assert 1 / baseline("sync").ceiling_share == pytest.approx(5.61, rel=0.05)
    assert baseline("sync").max_trained_lag == 0
    assert baseline("one_step_off").max_trained_lag == 1


@pytest.mark.parametrize("name", BASELINES)
def test_every_outcome_is_json_with_the_designs_keys_and_shares_in_their_range(name: str) -> None:
    outcome = baseline(name)
    found = json.loads(json.dumps(outcome.to_json(), allow_nan=False))
    assert found.keys() >= KEYS
    assert found["policy"] == name
    assert found["train_to_rollout_ratio"] == pytest.approx(0.5)
    for key in ("bound_share", "masked_share", "dropped_share", "wasted_token_share", "trainer_idle_share"):
        assert 0 <= found[key] <= 1, key


@pytest.mark.parametrize("policy", ["wait", "drop", "mask"])
def test_the_shares_belong_together(policy: str) -> None:
    outcome = ours(policy)
    assert outcome.fresh_token_share == pytest.approx(outcome.ceiling_share * outcome.trained_length_ratio)
    assert outcome.bound_share <= 1 and outcome.max_trained_lag <= 2 and outcome.violations == 0
    assert outcome.queue_age_p50_versions <= outcome.queue_age_max_versions <= outcome.oldest_age_versions


def test_waiting_loses_nothing_and_masking_masks() -> None:
    assert (ours("wait").dropped_share, ours("wait").masked_share) == (0, 0)
    assert ours("wait").most_attempts == 1
    assert ours("mask").masked_share > 0 and ours("mask").most_attempts == 2


def test_tasks_are_measured_against_their_own_lengths() -> None:
    tasks = (Task(name="code", share=0.25, length_level=2.0), Task(name="math", share=0.75))
    trace = LogNormalTrace(name="mix", total_sigma=0.6, seed=0, num_prompts=1_600, tasks=tasks)
    scenario = Scenario(trace=trace, cluster=design_cluster(1.0), steps=50, batch_groups=32)
    selection = scheduler("wait", batch_groups=32, bound_versions=2)
    outcome = simulate(scenario.plan(), selection, policy="wait", bound_versions=2)
    assert outcome.tasks["code"].group_share == pytest.approx(0.25, abs=0.03)
    assert outcome.tasks["code"].trained_length_ratio == pytest.approx(1.0, abs=0.1)
    assert outcome.tasks["math"].trained_length_ratio == pytest.approx(1.0, abs=0.1)
    assert sum(task.token_share for task in outcome.tasks.values()) == pytest.approx(1.0)


def test_a_sweep_reports_every_warm_up_and_names_the_best() -> None:
    sweep = sweep_warm_up("verl_drop", design(30), 2)
    assert list(sweep.outcomes) == [0, 0.5, 1, 1.5, 2, 2.5]
    assert sweep.best is sweep.outcomes[sweep.best_warm_up_batches]
    assert sweep.best.fresh_token_share == max(outcome.fresh_token_share for outcome in sweep.outcomes.values())


def test_the_same_scenario_gives_the_same_outcome() -> None:
    assert run_baseline("verl_drop", design(10), 2) == run_baseline("verl_drop", design(10), 2)


def test_unknown_baselines_and_shares_are_refused_by_name() -> None:
    with pytest.raises(WrongUse, match=r"unknown baseline 'verl' \(known: sync, verl_drop"):
        run_baseline("verl", design(), 2)
    with pytest.raises(WrongUse, match="'sync' has no warm-up"):
        sweep_warm_up("sync", design(), 2)
    with pytest.raises(WrongUse, match="rollout_share lies between 0 and 1, not 1"):
        Scenario(trace=design().trace, cluster=design().cluster, rollout_share=1.0)
    with pytest.raises(WrongUse, match="batch_groups is at least 1"):
        Scenario(trace=design().trace, cluster=design().cluster, batch_groups=0)
