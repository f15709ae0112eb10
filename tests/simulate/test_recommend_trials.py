"""Trials: what they measure, and how results of an earlier process are taken up."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulate_recommending import DROP, MASKS, TINY, WAIT, made_measures

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.simulate.order import run_order
from pangu_verl.simulate.tally import StepFacts
from pangu_verl.simulate.trial_pool import TrialPool
from pangu_verl.simulate.trials import Bench, Measures, Setting, Trial, measured, share_of, with_replicas

SETTING = Setting(WAIT, 2, 12, 5)
TRIAL = Trial(SETTING, 0, 6)


@pytest.mark.parametrize("variant", [WAIT, DROP, MASKS[1]])
def test_over_all_steps_a_trial_measures_what_the_command_prints(variant: Any) -> None:
    measures = Bench(TINY).measure(Trial(SETTING._replace(variant=variant), 0, TINY.steps))
    order = replace(TINY, policy=variant.policy, options=dict(variant.options), window_groups=12, rollout_share=5 / 8)
    [outcome] = run_order(order)
    for name in Measures.__slots__:
        if hasattr(outcome, name):
            assert getattr(measures, name) == pytest.approx(getattr(outcome, name)), name


def test_skipped_steps_leave_out_how_a_run_began() -> None:
    scenario = Bench(TINY).scenario(0)
    [outcome] = run_order(TINY)
    first = StepFacts(0, 0, 10.0, 2.0, 90, 90, 50, 40, 40, 0.0, rollout_idle_share=0.5)
    second = first._replace(step=1, version=1, begin_s=13.0, consumed_tokens=100, trained_tokens=80, longest_tokens=30)
    whole, later = (measured(scenario, [first, second], skipped, outcome) for skipped in (0, 1))
    assert (whole.mean_step_s, later.mean_step_s) == (7.5, 3.0)
    assert (whole.trainer_idle_share, later.trainer_idle_share) == (pytest.approx(11 / 15), pytest.approx(1 / 3))
    assert (whole.masked_share, later.masked_share) == (pytest.approx(60 / 190), pytest.approx(0.2))
    assert (whole.longest_tokens, later.longest_tokens) == (40, 30)
    assert later.rollout_idle_share == pytest.approx(0.5)
    assert later.trained_tokens_per_s == pytest.approx(80 / 3)


def test_an_added_replica_rolls_out_and_takes_nothing_from_the_trainer() -> None:
    cluster = Bench(TINY).scenario(0).cluster
    larger = with_replicas(cluster, 1)
    before, after = cluster.split(share_of(cluster, 5)), larger.split(share_of(larger, 6))
    assert (after.replicas, after.trainer_devices) == (before.replicas + 1, before.trainer_devices)


def test_the_mean_of_measures_keeps_the_longest_response() -> None:
    mean = Measures.mean([made_measures(0.4, 1.0, longest_tokens=10), made_measures(0.6, 0.9, longest_tokens=30)])
    assert mean.fresh_token_share == pytest.approx(0.5)
    assert mean.trained_length_ratio == pytest.approx(0.95)
    assert mean.longest_tokens == 30


def test_every_loaded_policy_is_tried_and_mask_at_its_floors() -> None:
    variants = Bench(TINY).variants()
    assert {variant.policy for variant in variants} >= {"wait", "drop", "mask"}
    assert sum(variant.policy == "mask" for variant in variants) == 5


def test_without_any_policy_loaded_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "")
    with pytest.raises(WrongUse, match="no staleness policy is loaded"):
        Bench(TINY).variants()


def test_a_trial_is_run_once_whether_in_this_process_or_an_earlier_one() -> None:
    results: list[dict[str, Any]] = []
    with TrialPool(TINY, on_result=lambda result: results.append(dict(result))) as pool:
        first = pool.run("first", [TRIAL])
        assert pool.run("again", [TRIAL]) == first
    assert len(results) == 1
    told: list[object] = []
    written = json.loads(json.dumps(results))
    with TrialPool(TINY, done=written, on_result=told.append) as pool:
        assert pool.run("first", [TRIAL]) == first
    assert told == []


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"trial": TRIAL.to_json()},
        {"trial": TRIAL.to_json(), "measures": None},
        {"trial": TRIAL.to_json(), "measures": {"fresh_token_share": 0.5}},
        {"trial": TRIAL.to_json(), "measures": {**made_measures(0.5, 1.0).to_json(), "fresh_token_share": "much"}},
        {"trial": ["x"], "measures": made_measures(0.5, 1.0).to_json()},
    ],
)
def test_an_earlier_result_that_says_nothing_is_run_again(result: dict[str, Any]) -> None:
    told: list[object] = []
    with TrialPool(TINY, done=[result], on_result=told.append) as pool:
        pool.run("first", [TRIAL])
    assert len(told) == 1


def test_progress_counts_earlier_results_as_finished() -> None:
    other = TRIAL._replace(seed=1)
    told: list[tuple[str, int, int]] = []
    done = {"trial": TRIAL.to_json(), "measures": made_measures(0.5, 1.0).to_json()}
    with TrialPool(TINY, done=[done], on_progress=lambda *news: told.append(news)) as pool:
        pool.run("stage", [TRIAL, other])
    assert told == [("stage", 1, 2), ("stage", 2, 2)]


def test_two_processes_measure_what_one_does() -> None:
    trials = [TRIAL, TRIAL._replace(seed=1), TRIAL._replace(steps=5)]
    with TrialPool(TINY) as alone, TrialPool(TINY, processes=2) as together:
        assert together.run("stage", trials) == alone.run("stage", trials)


def test_an_error_in_a_process_comes_out_as_it_is(tmp_path: Path) -> None:
    trace = tmp_path / "lengths.jsonl"
    trace.write_text('{"prompt": "a", "tokens": 5}\n')
    with TrialPool(replace(TINY, trace=str(trace)), processes=2) as pool:
        trace.write_text('{"prompt": "a", "tokens": 0}\n')
        with pytest.raises(WrongUse, match=r"lengths\.jsonl row 1"):
            pool.run("stage", [TRIAL])


def test_a_process_that_dies_is_said_to_have_died(monkeypatch: pytest.MonkeyPatch) -> None:
    with TrialPool(TINY, processes=2) as pool:
        # What is sent to the process ends it while it is unpacked.
        monkeypatch.setattr(pool, "_pickled_order", _Deadly())
        with pytest.raises(RunFailed, match=r"process that simulates died.*--resume"):
            pool.run("stage", [TRIAL])


class _Deadly:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os._exit, (9,))
