"""Preference scores on the scale of their task."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_rows import row, verdict

from pangu_verl.mars.preference import FEWEST_SCORES, Moments, is_preference, on_scale, task_of

SEEN = Moments(count=100, mean=0.8, squares=99 * 0.01)


def placed(score: float, moments: Moments | None = SEEN) -> float:
    found = on_scale(verdict(None, score=score, source="judge"), moments).score
    assert found is not None
    return found


def test_the_mean_of_a_task_is_a_half() -> None:
    assert placed(0.8) == pytest.approx(0.5)
    assert placed(0.9) == pytest.approx(0.8413, abs=1e-3)


@given(first=st.floats(0, 1), second=st.floats(0, 1))
def test_the_order_of_scores_is_kept_within_the_range(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert 0 <= placed(low) <= placed(high) <= 1


@pytest.mark.parametrize(
    "moments", [None, Moments(), Moments(FEWEST_SCORES - 1, 0.5, 1.0), Moments(FEWEST_SCORES, 0.5, 0.0)]
)
def test_a_task_of_which_little_is_known_keeps_its_scores(moments: Moments | None) -> None:
    assert placed(0.3, moments) == 0.3


@pytest.mark.parametrize("passed", [True, False, None])
def test_correctness_is_no_preference(passed: bool | None) -> None:
    found = verdict(passed)
    assert not is_preference(found)
    assert on_scale(found, SEEN) is found


def test_the_score_as_given_is_kept() -> None:
    assert on_scale(verdict(None, score=0.9), SEEN).details["raw_score"] == 0.9


def test_a_task_is_a_data_set_or_else_a_domain() -> None:
    assert task_of(row(extra={"data_source": "poems"}), "judge") == "judge/poems"
    assert task_of(row(domain="general"), "judge") == "judge/general"
