"""What a reward source sees of verl's columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pangu_verl.integrations.verl.reward_rows import reward_of_verdict, row_of
from pangu_verl.types import RewardRow, Verdict

COLUMNS: dict[str, Any] = {"data_source": "apps", "ability": "code", "reward_model": {"style": "rule"}}
TESTS = [{"kind": "stdin", "input": "1", "output": "2"}, {"kind": "assert", "code": "assert f(1) == 2"}]


def row(response: str = "4", **columns: Any) -> RewardRow:
    return row_of(response, {**COLUMNS, **columns}, response_tokens=3, max_response_tokens=8)


@pytest.mark.parametrize(
    "tests",
    [TESTS, tuple(TESTS), np.array(TESTS, dtype=object), str(TESTS).replace("'", '"')],
)
def test_tests_come_as_a_list_an_array_or_json_text(tests: Any) -> None:
    assert list(row(extra_info={"tests": tests}).tests) == TESTS
    assert list(row(extra_info={"checks": tests}).checks) == TESTS


def test_rows_without_tests_have_none() -> None:
    for extra in ({}, {"tests": None}, {"tests": []}, None):
        assert list(row(extra_info=extra).tests) == []


@pytest.mark.parametrize("tests", ["[", "{}x", "7", 7, [1], ["text"], '["text"]', [None]])
def test_tests_of_another_shape_are_refused(tests: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        row(extra_info={"tests": tests})


def test_the_source_sees_what_the_row_adds_and_how_long_the_answer_is() -> None:
    found = row(extra_info={"index": 3, "mode": "slow", "reference_response": "five", "response_tokens": 99})
    assert (found.id, found.domain, found.mode) == ("3", "code", "slow")
    assert found.extra["reference_response"] == "five"
    assert (found.extra["response_tokens"], found.extra["max_response_tokens"]) == (3, 8)
    assert found.extra["data_source"] == "apps"


def test_a_row_without_a_mode_passes_no_gate() -> None:
    assert row(extra_info={}).mode is None


def test_the_columns_are_left_as_they_are() -> None:
    extra = {"tests": TESTS, "index": 1}
    row(extra_info=extra)
    assert extra == {"tests": TESTS, "index": 1}


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), "0.5", None, [1.0]])
def test_parts_of_a_score_that_are_no_number_are_left_out(amount: object) -> None:
    breakdown = {"maths": {"score": 1.0}, "auxiliary": {"length": amount, "mode": -0.5}}
    verdict = Verdict(score=0.5, passed=True, reason="right", source="maths", details={"breakdown": breakdown})
    extra = reward_of_verdict(verdict, response_tokens=3, data_source="sums")["reward_extra_info"]
    assert (extra["correctness"], extra["auxiliary/mode"]) == (1.0, -0.5)
    assert "auxiliary/length" not in extra


@pytest.mark.parametrize("breakdown", [None, "text", {"maths": 1.0}, {"auxiliary": ["length"]}])
def test_a_breakdown_of_another_shape_is_left_out(breakdown: object) -> None:
    verdict = Verdict(score=1.0, passed=True, reason="right", source="maths", details={"breakdown": breakdown})
    found = reward_of_verdict(verdict, response_tokens=3, data_source="sums")
    assert found["reward_score"] == 1.0
    assert "correctness" not in found["reward_extra_info"]
