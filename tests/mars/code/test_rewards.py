"""From outcomes to a score."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.errors import WrongUse
from pangu_verl.mars.code.outcomes import Outcome
from pangu_verl.mars.code.rewards import CodeReward

OUTCOMES = st.lists(
    st.sampled_from(
        [Outcome(True, "ran", "")]
        + [Outcome(False, stage, "") for stage in ("syntax_error", "runtime_error", "ran", "limit")]
    ),
    min_size=1,
    max_size=6,
)
SCHEMES = st.sampled_from([CodeReward(), CodeReward(scheme="stage")])
PASSED = Outcome(True, "ran", "")


def test_pass_fraction_counts_tests_that_were_not_run_as_not_passed() -> None:
    assert CodeReward().score([PASSED, Outcome(False, "limit", "")], num_tests=4) == 0.25


def test_stages_rise() -> None:
    reward = CodeReward(scheme="stage")
    stages = [reward.score([Outcome(False, stage, "")], 1) for stage in ("syntax_error", "runtime_error", "ran")]
    assert stages == [0.05, 0.1, 0.2]


@given(SCHEMES, OUTCOMES)
def test_only_a_program_that_passes_all_is_worth_one(reward: CodeReward, outcomes: list[Outcome]) -> None:
    score = reward.score(outcomes, len(outcomes))
    assert 0 <= score <= 1
    assert (score == 1) == all(outcome.passed for outcome in outcomes)


@given(SCHEMES, OUTCOMES, st.integers(0, 5))
def test_a_test_that_no_longer_passes_never_raises_the_score(
    reward: CodeReward, outcomes: list[Outcome], position: int
) -> None:
    spoilt = list(outcomes)
    spoilt[position % len(spoilt)] = Outcome(False, "syntax_error", "")
    assert reward.score(spoilt, len(spoilt)) <= reward.score(outcomes, len(outcomes))


@pytest.mark.parametrize("wrong", [{"scheme": "staged"}, {"wrong": 1.0}, {"syntax_error": 0.3}, {"runtime_error": -1}])
def test_values_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(WrongUse):
        CodeReward(**wrong)
