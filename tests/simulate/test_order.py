"""Orders: everything is checked before a run begins, and several seeds make one summary."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pangu_verl.errors import WrongUse
from pangu_verl.simulate.order import Order, prepare, run_order, summary

SMALL = Order(steps=4, batch_groups=8, trajectories=2)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (replace(SMALL, policy="mark"), "unknown policy 'mark'.*mask.*verl_drop"),
        (replace(SMALL, controller="pilot"), "unknown controller 'pilot'.*adaptive"),
        (replace(SMALL, priority={"speed": 1.0}), "priority weight 'speed' names no term"),
        (replace(SMALL, options={"floor": 0.5}), "'mask' has no option 'floor'.*least_fresh_share"),
        (replace(SMALL, options={"least_fresh_share": 1.5}), "least_fresh_share lies in 0..1, not 1.5"),
        (
            replace(SMALL, policy="wait", options={"most_evictions": 1}),
            "'wait' takes no options, but most_evictions came",
        ),
        (
            replace(SMALL, policy="verl_drop", options={"most_evictions": 1}),
            "baseline 'verl_drop' does not take --option",
        ),
        (replace(SMALL, policy="sync", controller="adaptive"), "baseline 'sync' does not take --controller"),
        (replace(SMALL, warm_up_batches=1), "--warm-up belongs to verl_drop and verl_wait, not to 'mask'"),
        (replace(SMALL, seeds=0), "--seeds is at least 1"),
        (replace(SMALL, window_groups=7), "window_groups=7 can never fill a batch of 8 groups"),
        (replace(SMALL, wave_groups=7), "wave_groups=7 is less than a batch of 8 groups"),
        (replace(SMALL, policy="verl_wait", wave_groups=16), "baseline 'verl_wait' does not take --wave"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(order: Order, message: str) -> None:
    with pytest.raises(WrongUse, match=message):
        prepare(order)


def test_a_seed_decides_the_run(tmp_path: Path) -> None:
    first, again, other = (run_order(replace(SMALL, first_seed=seed))[0] for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_waves_of_length_bring_speed_where_lengths_are_unlike() -> None:
    order = replace(SMALL, policy="wait", trace="heavy", steps=40, seeds=2)
    as_they_come, in_waves = (summary(run_order(replace(order, wave_groups=wave))) for wave in (None, 80))
    assert in_waves["fresh_token_share"] > 1.1 * as_they_come["fresh_token_share"]
    assert in_waves["violations"] == 0


def test_waves_of_a_recorded_trace_are_refused_as_it_knows_no_lengths_beforehand(tmp_path: Path) -> None:
    file = tmp_path / "lengths.jsonl"
    file.write_text('{"prompt": "a", "tokens": 5}\n')
    with pytest.raises(WrongUse, match=r"--wave orders by expected lengths, and .*lengths\.jsonl carries none"):
        prepare(replace(SMALL, trace=str(file), wave_groups=16))


def test_a_cluster_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("devices: 8\nslots_per_device: 4\ntrain_tokens_per_s: 400\n")
    outcome = run_order(replace(SMALL, cluster=file))[0]
    assert outcome.devices == 8
    assert outcome.rollout_slots % 4 == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("devices: 8\nslots_per_device: 4\n", "train_tokens_per_s"),
        ("devices: 8\nslots: 4\n", "slots"),
        ("- 1\n", "expected the fields of a cluster"),
        ("devices: [", "expected a YAML file"),
        ("devices: 8\nslots_per_device: 4\ntrain_tokens_per_s: .nan\n", "train_tokens_per_s"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(WrongUse, match=message) as refusal:
        run_order(replace(SMALL, cluster=file))
    assert "cluster.yaml" in str(refusal.value)


def test_a_missing_cluster_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"nothing\.yaml"):
        run_order(replace(SMALL, cluster=tmp_path / "nothing.yaml"))


def test_a_summary_holds_means_sums_and_maxima() -> None:
    outcomes = run_order(replace(SMALL, policy="admission", staleness=0, seeds=3, trace="heavy", steps=12))
    found = summary(outcomes)
    assert found["seeds"] == 3
    assert found["fresh_token_share"] == pytest.approx(sum(each.fresh_token_share for each in outcomes) / 3)
    assert found["violations"] == sum(each.violations for each in outcomes)
    assert found["max_trained_lag"] == max(each.max_trained_lag for each in outcomes)
    assert json.loads(json.dumps(found))["outcomes"][1]["policy"] == "admission"


def test_each_run_has_a_controller_of_its_own() -> None:
    run = prepare(replace(SMALL, controller="adaptive", drift=0.5, steps=8))
    assert run(0, None) == run(0, None)
