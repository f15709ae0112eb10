"""One verdict out of correctness, gate and terms."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.mars.composition import MOST_AUXILIARY, compose
from pangu_verl.types import RewardRow, Verdict


class Term:
    def __init__(self, amount: Any, name: str = "made") -> None:
        self.name = name
        self.amount = amount

    def apply(self, row: RewardRow, verdict: Verdict) -> float:
        if isinstance(self.amount, Exception):
            raise self.amount
        return self.amount  # type: ignore[no-any-return]


def row(response: str = "<think>why</think>42", mode: Any = None) -> RewardRow:
    return RewardRow(id="1", domain="math", question="", response=response, answer="42", mode=mode)


def correctness(score: float | None = 1.0, passed: bool | None = True) -> Verdict:
    return Verdict(score=score, passed=passed, reason="seen", source="maths", seconds=2.0, details={"rung": "literal"})


RIGHT = correctness()
WRONG = correctness(0.0, False)

AMOUNTS = st.lists(st.floats(-1, 1), max_size=5)
VERDICTS = st.builds(correctness, st.one_of(st.none(), st.floats(0, 1)), st.one_of(st.none(), st.booleans()))
ROWS = st.builds(
    row,
    st.sampled_from(["", "42", "<think>", "<think>why</think>42", "</think></think>"]),
    st.sampled_from([None, "fast", "slow", "auto", "swift"]),
)


def terms(amounts: list[float]) -> list[Term]:
    return [Term(amount, f"term{index}") for index, amount in enumerate(amounts)]


def test_without_mode_and_terms_the_verdict_stays_as_it_is() -> None:
    composed = compose(row(), RIGHT, [])
    assert (composed.score, composed.passed, composed.reason, composed.source) == (1.0, True, "seen", "maths")


def test_a_structure_that_the_mode_refuses_costs_the_score_and_not_the_pass() -> None:
    composed = compose(row(mode="fast"), RIGHT, [Term(0.4)])
    assert (composed.score, composed.passed) == (0.0, True)
    assert composed.reason == "seen; format: a fast answer holds reasoning"
    assert composed.details["format_failure"] is True


def test_terms_add_up_on_a_right_answer() -> None:
    assert compose(row(mode="slow"), RIGHT, terms([-0.1, -0.2])).score == pytest.approx(0.7)
    assert compose(row(), RIGHT, terms([-0.3, 0.2])).score == pytest.approx(0.9)


def test_terms_together_take_at_most_half() -> None:
    assert compose(row(), RIGHT, terms([-1.0, -1.0])).score == 1.0 - MOST_AUXILIARY


def test_on_a_wrong_answer_a_term_that_pays_does_not_count_and_one_that_takes_does() -> None:
    assert compose(row(), correctness(0.4, False), terms([0.5, -0.1])).score == pytest.approx(0.3)
    assert compose(row(), WRONG, terms([0.5])).score == 0.0


def test_each_part_is_kept_apart() -> None:
    composed = compose(row(mode="slow"), WRONG, terms([0.5, -0.25]))
    assert composed.details == {
        "rung": "literal",
        "breakdown": {
            "maths": {"score": 0.0, "passed": False, "reason": "seen"},
            "format_gate": {"mode": "slow", "fault": None},
            "auxiliary": {"term0": 0.5, "term1": -0.25},
        },
    }
    assert composed.seconds >= 2.0


@pytest.mark.parametrize("mode", ["swift", "", 3, ["fast"]])
def test_an_unknown_mode_leaves_no_score_and_is_named(mode: Any) -> None:
    composed = compose(row(mode=mode), RIGHT, [])
    assert (composed.score, composed.passed) == (None, True)
    assert composed.reason == f"seen; the row has mode {mode!r}, expected one of fast, slow, auto"


@pytest.mark.parametrize("amount", [math.nan, math.inf, -1.01, 2, "much", None, [1], RuntimeError("gone")])
def test_a_term_that_is_broken_leaves_no_score_and_is_named(amount: Any) -> None:
    composed = compose(row(), RIGHT, [Term(amount)])
    assert (composed.score, composed.passed) == (None, True)
    assert composed.reason.startswith("seen; auxiliary term 'made' failed: ")
    assert composed.details["breakdown"]["auxiliary"] == {}


def test_what_could_not_be_judged_stays_so() -> None:
    composed = compose(row(mode="slow"), correctness(None, None), terms([0.5]))
    assert (composed.score, composed.passed, composed.reason) == (None, None, "seen")


@settings(deadline=None)
@given(ROWS, VERDICTS, AMOUNTS)
def test_the_pass_is_never_touched_and_the_score_stays_in_its_range(
    any_row: RewardRow, verdict: Verdict, amounts: list[float]
) -> None:
    composed = compose(any_row, verdict, terms(amounts))
    assert composed.passed is verdict.passed
    assert composed.score is None or 0.0 <= composed.score <= 1.0
    assert (composed.score is None) == (verdict.score is None or any_row.mode == "swift")


@settings(deadline=None)
@given(ROWS, st.floats(0, 1), st.sampled_from([False, None]), AMOUNTS)
def test_a_score_that_is_not_of_a_right_answer_never_rises(
    any_row: RewardRow, score: float, passed: bool | None, amounts: list[float]
) -> None:
    composed = compose(any_row, correctness(score, passed), terms(amounts))
    assert composed.score is None or composed.score <= score


@settings(deadline=None)
@given(AMOUNTS)
def test_a_full_score_keeps_at_least_half_where_the_gate_is_passed(amounts: list[float]) -> None:
    composed = compose(row(mode="slow"), RIGHT, terms(amounts))
    assert composed.score is not None and composed.score >= 1.0 - MOST_AUXILIARY


@settings(deadline=None)
@given(AMOUNTS, st.floats(0, 1), st.booleans())
def test_taking_more_never_raises_the_score(amounts: list[float], score: float, passed: bool) -> None:
    verdict = correctness(score, passed)
    before = compose(row(), verdict, terms(amounts)).score
    after = compose(row(), verdict, terms([*amounts, -0.25])).score
    assert before is not None and after is not None and after <= before
