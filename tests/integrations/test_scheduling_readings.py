"""What a bound controller is told of a step of verl's."""

from __future__ import annotations

import pytest

from pangu_verl.integrations.verl.scheduling.readings import reading_of

IDLE = {"scheduler/trainer_waiting_share": 0.25, "scheduler/replica_occupied_share/mean": 0.75}


def test_idle_shares_are_waiting_and_free_slots() -> None:
    reading = reading_of(IDLE, 8)
    assert (reading.batch_groups, reading.trainer_idle_share, reading.rollout_idle_share) == (8, 0.25, 0.25)


def test_requests_that_wait_at_a_server_are_no_negative_idleness() -> None:
    assert reading_of({**IDLE, "scheduler/replica_occupied_share/mean": 1.5}, 8).rollout_idle_share == 0.0


def test_a_drift_that_nobody_measured_is_not_known() -> None:
    reading = reading_of(IDLE, 8)
    assert reading.effective_sample_share is None
    assert reading.mean_absolute_log_ratio is None


def test_the_log_ratio_is_the_mean_over_the_trained_tokens() -> None:
    gaps = {
        "scheduler/log_prob_gap/lag_0/mean": 0.1,
        "scheduler/log_prob_gap/lag_0/max": 9.0,
        "scheduler/log_prob_gap/lag_2/mean": 0.5,
        "scheduler/lag_share/0": 0.75,
        "scheduler/lag_share/2": 0.25,
    }
    assert reading_of({**IDLE, **gaps}, 8).mean_absolute_log_ratio == pytest.approx(0.2)


def test_the_effective_share_is_that_of_verls_weights() -> None:
    assert reading_of({**IDLE, "rollout_corr/rollout_is_eff_sample_size": 0.9}, 8).effective_sample_share == 0.9
