"""Descriptions of clusters, their splits, and the design's times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate_runs import small_cluster

from pangu_verl.errors import WrongUse
from pangu_verl.simulate.cluster import Split, Workload, describe_cluster, design_cluster

FIELDS: dict[str, object] = {"devices": 16, "slots_per_device": 4, "train_tokens_per_s": 100}


def test_a_description_needs_devices_slots_and_a_training_rate_alone() -> None:
    cluster = describe_cluster(FIELDS, "here")
    assert (cluster.slots, cluster.slots_per_replica) == (64, 4)
    assert set(cluster.decode_rates()) == {50.0}


def test_a_decode_curve_is_linear_between_its_points_and_level_outside() -> None:
    cluster = small_cluster(slots_per_device=6, decode_tokens_per_s=((2, 8.0), (4, 4.0)))
    assert cluster.decode_rates()[1:] == [8.0, 8.0, 6.0, 4.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"devices": 1}, "field 'devices': .*got 1"),
        ({"devices": 2.5}, "field 'devices'"),
        ({"slots_per_device": 0}, "field 'slots_per_device'"),
        ({"train_tokens_per_s": None}, "lacks the field 'train_tokens_per_s'"),
        ({"train_tokens_per_s": 0}, "field 'train_tokens_per_s'"),
        ({"train_tokens_per_s": float("inf")}, "field 'train_tokens_per_s'"),
        ({"train_tokens_per_s": float("nan")}, "field 'train_tokens_per_s'"),
        ({"decode_tokens_per_s": -1}, "field 'decode_tokens_per_s"),
        ({"decode_tokens_per_s": []}, "one pair or more"),
        ({"decode_tokens_per_s": [[4, 1.0], [2, 2.0]]}, "rising numbers"),
        ({"devices_per_replica": 16}, "leaves none of 16 to train on"),
        ({"publication_s": -1}, "field 'publication_s'"),
        ({"gpus": 3}, "unknown field 'gpus'"),
    ],
)
def test_a_description_that_cannot_be_run_is_refused_by_field(changes: dict[str, object], said: str) -> None:
    with pytest.raises(WrongUse, match=f"^c.yaml: .*{said}|^c.yaml: {said}"):
        describe_cluster({**FIELDS, **changes}, "c.yaml")


def test_the_design_splits_its_512_slots_by_the_ratio() -> None:
    cluster = design_cluster(0.5)
    workload = Workload(batch_groups=64, trajectories=8, mean_tokens=1_000)
    assert workload.rollout_s(cluster) == pytest.approx(64 * 8 * 1_000 / 50 / 512)
    assert workload.train_s(cluster) == pytest.approx(0.5 * workload.rollout_s(cluster))
    assert cluster.split(workload.best_rollout_share(cluster)) == Split(replicas=341, trainer_devices=171)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ratio_that_is_not_over_0_is_refused(ratio: float) -> None:
    with pytest.raises(WrongUse, match="ratio T/W is a number over 0"):
        design_cluster(ratio)


@given(st.integers(2, 2_000), st.integers(1, 16), st.floats(0, 1))
def test_every_split_leaves_a_replica_and_a_trainer_and_no_device_twice(
    devices: int, devices_per_replica: int, share: float
) -> None:
    cluster = small_cluster(devices=max(devices, devices_per_replica + 1), devices_per_replica=devices_per_replica)
    split = cluster.split(share)
    assert split.replicas >= 1 and split.trainer_devices >= 1
    assert split.replicas * devices_per_replica + split.trainer_devices == cluster.devices


def test_jobs_that_take_turns_have_all_devices_each() -> None:
    assert small_cluster(devices_per_replica=2).shared() == Split(replicas=4, trainer_devices=8)
