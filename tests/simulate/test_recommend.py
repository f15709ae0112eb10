"""Advice from beginning to end, on a cluster that is played in a moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate_recommending import TINY, WAIT, made_measures

from pangu_verl.errors import WrongUse
from pangu_verl.simulate.order import Order
from pangu_verl.simulate.recommend import LEAST_SEEDS, Recommendation, check_order, frontier, recommend
from pangu_verl.simulate.trials import Setting


class Stopped(Exception):
    pass


def advice(order: Order = TINY, least_length_ratio: float = 0.8, **more: Any) -> Recommendation:
    return recommend(order, least_length_ratio, processes=1, **more)


@pytest.fixture(scope="module")
def found() -> Recommendation:
    return advice()


def test_the_advice_is_the_best_of_the_finalists_at_the_smallest_bound_worth_it(found: Recommendation) -> None:
    enough = [one for one in found.finalists if one.measures.trained_length_ratio >= 0.8]
    most = max(one.measures.fresh_token_share for one in enough)
    assert found.is_reached
    assert found.chosen in enough
    assert found.chosen.measures.fresh_token_share >= 0.99 * most
    below = [one for one in enough if one.setting.bound_versions < found.chosen.setting.bound_versions]
    assert all(one.measures.fresh_token_share < 0.99 * most for one in below)


def test_the_bound_above_the_chosen_one_is_always_played(found: Recommendation) -> None:
    bound = found.chosen.setting.bound_versions
    assert (found.one_more_version is None) == (bound == 8)
    if found.one_more_version is not None:
        assert found.one_more_version.setting.bound_versions == bound + 1


def test_every_finalist_has_a_standard_error_over_several_seeds(found: Recommendation) -> None:
    assert found.num_seeds == LEAST_SEEDS
    assert all(one.standard_error >= 0 for one in found.finalists)
    assert any(one.standard_error > 0 for one in found.finalists)


def test_the_record_is_json_and_names_the_setting(found: Recommendation) -> None:
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert record["policy"] == found.chosen.setting.variant.policy
    assert record["staleness_bound"] == found.chosen.setting.bound_versions
    assert record["replicas"] + record["trainer_devices"] == 8
    assert record["fresh_token_share"] == found.chosen.measures.fresh_token_share
    assert len(record["finalists"]) == len(found.finalists)
    assert record["num_short_runs"] == len(found.tried)


def test_the_same_order_gets_the_same_advice_after_a_stop_anywhere(found: Recommendation) -> None:
    results: list[Mapping[str, Any]] = []

    def keep(result: Mapping[str, Any]) -> None:
        results.append(json.loads(json.dumps(result)))
        if len(results) in (1, 20, 90):
            raise Stopped

    for _ in range(3):
        with pytest.raises(Stopped):
            advice(done=list(results), on_result=keep)
    assert advice(done=list(results), on_result=keep).to_json() == found.to_json()


def test_a_finished_search_is_not_run_again(found: Recommendation) -> None:
    results: list[Mapping[str, Any]] = []
    advice(on_result=results.append)
    told: list[object] = []
    assert advice(done=results, on_result=told.append).to_json() == found.to_json()
    assert told == []


def test_a_given_split_and_window_are_kept() -> None:
    found = advice(replace(TINY, rollout_share=0.5, window_groups=8))
    assert {setting.replicas for setting in found.tried} == {4}
    assert {setting.window_groups for setting in found.tried} == {8}


def test_a_cluster_with_two_devices_has_one_split(tmp_path: Path) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("devices: 2\nslots_per_device: 8\ntrain_tokens_per_s: 400\n")
    found = advice(replace(TINY, cluster=cluster))
    assert {setting.replicas for setting in found.tried} == {1}


def test_replicas_of_several_devices_stay_whole(tmp_path: Path) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("devices: 8\nslots_per_device: 1\ndevices_per_replica: 2\ntrain_tokens_per_s: 100\n")
    found = advice(replace(TINY, cluster=cluster))
    record = found.to_json()
    assert {setting.replicas for setting in found.tried} <= {1, 2, 3}
    assert record["trainer_devices"] == 8 - 2 * record["replicas"]


def test_a_recorded_trace_can_be_asked_about(tmp_path: Path) -> None:
    trace = tmp_path / "lengths.jsonl"
    trace.write_text("".join(json.dumps({"prompt": row % 3, "tokens": 10 + row}) + "\n" for row in range(9)))
    found = advice(replace(TINY, trace=str(trace)))
    assert found.least_bound_for_full_speed == pytest.approx(18 / 14 / 1.5)


def test_a_length_that_nothing_reaches_gives_the_nearest(tmp_path: Path) -> None:
    # So short a run never comes to the second half of the file.
    trace = tmp_path / "lengths.jsonl"
    trace.write_text("".join(json.dumps({"prompt": row, "tokens": 10 + 9 * (row > 99)}) + "\n" for row in range(200)))
    found = advice(replace(TINY, trace=str(trace)), least_length_ratio=1.0)
    longest = max(one.measures.trained_length_ratio for one in found.finalists)
    assert not found.is_reached
    assert found.chosen.measures.trained_length_ratio >= 0.99 * longest


@pytest.mark.parametrize("least_length_ratio", [0.0, -0.5, 1.01, float("nan"), float("inf")])
def test_a_length_ratio_outside_0_to_1_is_refused(least_length_ratio: float) -> None:
    with pytest.raises(WrongUse, match="--least-length-ratio lies in"):
        check_order(TINY, least_length_ratio)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_groups": 3}, "can never fill a batch"),
        ({"batch_groups": 0}, "is at least 1"),
        ({"rollout_share": 1.5}, "rollout_share lies between 0 and 1"),
        ({"trace": "hard"}, "unknown trace 'hard'"),
        ({"cluster": Path("no.yaml")}, "expected a YAML file that describes a cluster"),
        ({"priority": {"luck": 1.0}}, "names no term"),
        ({"train_to_rollout_ratio": 0.0}, "train-to-rollout ratio"),
    ],
)
def test_what_cannot_be_simulated_is_refused_before_anything_is(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongUse, match=message):
        check_order(replace(TINY, **changes), 0.9)


@given(points=st.lists(st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)), min_size=1, max_size=30))
def test_nothing_beats_the_frontier_and_the_frontier_beats_all_else(points: list[tuple[float, float]]) -> None:
    tried = {Setting(WAIT, 1, 64, place): made_measures(*point) for place, point in enumerate(points, start=1)}
    on_it = frontier(tried)
    for setting in on_it:
        one = tried[setting]
        assert not any(
            other.fresh_token_share > one.fresh_token_share and other.trained_length_ratio > one.trained_length_ratio
            for other in tried.values()
        )
    for other in tried.values():
        assert any(
            tried[setting].fresh_token_share >= other.fresh_token_share
            and tried[setting].trained_length_ratio >= other.trained_length_ratio
            for setting in on_it
        )
    shares = [tried[setting].fresh_token_share for setting in on_it]
    assert shares == sorted(shares, reverse=True)
