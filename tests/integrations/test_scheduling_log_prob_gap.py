"""The gap of log-probabilities by lag, and the alarm on it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.scheduling.loss.log_prob_gap import (
    MOST_STEPS_OVER_THE_ALARM,
    Gap,
    GapAlarm,
    gaps_by_lag,
)
from pangu_verl.integrations.verl.scheduling.loss.token_lags import NOT_TRAINED

tokens = st.lists(st.tuples(st.floats(0.0, 9.0), st.integers(NOT_TRAINED, 4)), max_size=30)


@settings(deadline=None)
@given(tokens=tokens)
def test_gaps_are_taken_lag_by_lag_over_trained_tokens(tokens: list[tuple[float, int]]) -> None:
    gaps = torch.tensor([gap for gap, _ in tokens], dtype=torch.float64)
    found = gaps_by_lag(gaps, torch.tensor([lag for _, lag in tokens], dtype=torch.int64))
    expected: dict[int, tuple[float, float]] = {}
    for lag in {lag for _, lag in tokens} - {NOT_TRAINED}:
        own = [gap for gap, at in tokens if at == lag]
        expected[lag] = (sum(own) / len(own), max(own))
    assert list(found) == sorted(expected)
    for lag, gap in found.items():
        assert gap == pytest.approx(expected[lag])


def gap(mean: float, lag: int = 0) -> dict[int, Gap]:
    """At the smallest lag; tokens that are older differ by much."""
    return {lag: Gap(mean, 2 * mean), lag + 1: Gap(9.0, 9.0)}


def test_three_steps_in_a_row_over_the_alarm_end_the_run_with_version_and_gap() -> None:
    alarm = GapAlarm(0.5)
    for version in range(MOST_STEPS_OVER_THE_ALARM - 1):
        alarm.check(gap(0.7), version)
    with pytest.raises(RunFailed, match=r"policy version 2: .* differ by 0\.7 nats .*log_prob_gap_alarm=0\.5 for 3"):
        alarm.check(gap(0.7), MOST_STEPS_OVER_THE_ALARM - 1)


def test_a_gap_that_is_no_number_is_over_the_alarm() -> None:
    alarm = GapAlarm(0.5)
    for version in range(MOST_STEPS_OVER_THE_ALARM - 1):
        alarm.check(gap(math.nan), version)
    with pytest.raises(RunFailed, match="differ by nan nats"):
        alarm.check(gap(math.nan), MOST_STEPS_OVER_THE_ALARM - 1)


def test_a_step_that_agrees_ends_the_row_and_one_without_a_trained_token_does_not() -> None:
    alarm = GapAlarm(0.5)
    for mean in (0.7, 0.7, 0.5, 0.7, 0.7):
        alarm.check(gap(mean), 0)
    alarm.check({}, 0)
    with pytest.raises(RunFailed):
        alarm.check(gap(0.7), 0)


def test_a_step_without_a_token_of_lag_0_is_held_to_its_freshest() -> None:
    alarm = GapAlarm(0.5)
    for version in range(MOST_STEPS_OVER_THE_ALARM - 1):
        alarm.check(gap(0.7, lag=version), version)
    with pytest.raises(RunFailed, match="at lag 2, the smallest"):
        alarm.check(gap(0.7, lag=2), 2)


def test_without_an_alarm_no_gap_ends_a_run() -> None:
    alarm = GapAlarm(None)
    for version in range(10):
        alarm.check(gap(math.inf), version)
