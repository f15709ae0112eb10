"""Running mean and deviation against the closed form, in any order."""

from __future__ import annotations

import json
import statistics
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.mars.preference import RunningStatistics

SCORES = st.lists(st.floats(0, 1), max_size=50)
TASK = "judge/poems"


def of(values: list[float], task: str = TASK) -> RunningStatistics:
    running = RunningStatistics()
    for value in values:
        running.add(task, value)
    return running


def assert_same(running: RunningStatistics, values: list[float]) -> None:
    if not values:
        assert TASK not in running.moments
        return
    moments = running.moments[TASK]
    assert moments.count == len(values)
    assert moments.mean == pytest.approx(statistics.fmean(values), abs=1e-12)
    if len(values) > 1:
        assert moments.deviation == pytest.approx(statistics.stdev(values), abs=1e-7)


@settings(deadline=None)
@given(SCORES)
def test_figures_equal_the_closed_form(values: list[float]) -> None:
    assert_same(of(values), values)


@settings(deadline=None)
@given(SCORES, st.randoms(use_true_random=False))
def test_order_does_not_matter(values: list[float], random: Random) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    assert_same(of(shuffled), values)


@settings(deadline=None)
@given(SCORES)
def test_json_and_back_is_the_same(values: list[float]) -> None:
    running = of(values)
    assert RunningStatistics.from_json(json.loads(json.dumps(running.to_json()))).to_json() == running.to_json()


def test_a_large_offset_does_not_eat_the_deviation() -> None:
    assert of([1e9 + value for value in (0.0, 1.0, 2.0)]).moments[TASK].deviation == 1.0


def test_tasks_are_kept_apart() -> None:
    running = of([0.0, 1.0], "judge/poems")
    for value in (0.5, 0.5):
        running.add("judge/letters", value)
    assert running.moments["judge/poems"].mean == 0.5
    assert running.moments["judge/poems"].deviation == pytest.approx(0.5**0.5)
    assert running.moments["judge/letters"].deviation == 0.0


def test_one_value_has_no_deviation() -> None:
    assert of([1.0]).moments[TASK].deviation is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        of([value])


@pytest.mark.parametrize(
    "data",
    [
        [],
        None,
        {TASK: None},
        {TASK: {"count": 1, "mean": 0.5}},
        {TASK: {"count": -1, "mean": 0.5, "squares": 0}},
        {TASK: {"count": 1.5, "mean": 0.5, "squares": 0}},
        {TASK: {"count": True, "mean": 0.5, "squares": 0}},
        {TASK: {"count": 1, "mean": float("nan"), "squares": 0}},
        {TASK: {"count": 2, "mean": 0.5, "squares": -1}},
        {TASK: {"count": 2, "mean": "0.5", "squares": 1}},
    ],
)
def test_a_state_that_was_never_written_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="running statistics"):
        RunningStatistics.from_json(data)
