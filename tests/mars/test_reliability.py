"""Measured rates of errors, and what is believed because of them."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_rows import opinion

from pangu_verl.mars.reliability import CHANGE_CONFIDENCE, STATES, Change, Rate, Reliability, Tolerance, interval

TOLERANCE = Tolerance(error_rate=0.05, window_audits=200)


def audited(marks: list[bool], found: Reliability | None = None) -> tuple[Reliability, list[Change]]:
    """After audits of the accepts of one source, each mark saying whether it was wrong."""
    found = found or Reliability(TOLERANCE)
    changes = [found.audit("maths", "math", "accept", is_wrong=is_wrong) for is_wrong in marks]
    return found, [change for change in changes if change is not None]


def draws(rate: float, count: int, seed: int) -> list[bool]:
    generator = random.Random(seed)
    return [generator.random() < rate for _ in range(count)]


def test_a_source_without_errors_stays_trusted() -> None:
    found, changes = audited([False] * 1_000)
    assert changes == []
    assert found.escalated("maths", "math") == frozenset()


@pytest.mark.parametrize("seed", range(20))
def test_a_source_that_is_wrong_in_a_fifth_of_its_accepts_is_found_within_a_window(seed: int) -> None:
    _, changes = audited(draws(0.2, TOLERANCE.window_audits, seed))
    assert changes
    assert (changes[0].before, changes[0].after) == ("trusted", "accepts escalated")


def test_a_source_within_half_of_what_is_tolerated_is_seldom_doubted() -> None:
    doubted = sum(bool(audited(draws(0.025, 1_000, seed))[1]) for seed in range(40))
    assert doubted <= 4


def test_a_source_that_drifts_is_found_by_its_last_audits_whatever_its_record() -> None:
    found, changes = audited([False] * 2_000)
    assert changes == []
    _, changes = audited([True] * 40, found)
    assert len(changes) == 1
    assert "since the start" in changes[0].reason
    assert changes[0].after == "accepts escalated"


def test_a_mended_source_is_trusted_again() -> None:
    found, _ = audited([True] * 10)
    assert found.escalated("maths", "math") == {"accept"}
    _, changes = audited([False] * TOLERANCE.window_audits, found)
    assert [(change.before, change.after) for change in changes] == [("accepts escalated", "trusted")]


@given(rate=st.floats(0.01, 0.5))
def test_the_fewest_audits_that_restore_trust_are_as_the_formula_says(rate: float) -> None:
    enough = Tolerance(error_rate=rate).fewest_audits
    assert interval(0, enough, CHANGE_CONFIDENCE)[1] < rate + 1e-9
    assert enough == 1 or interval(0, enough - 1, CHANGE_CONFIDENCE)[1] >= rate - 1e-9


def test_in_between_nothing_changes() -> None:
    marks = ([True] + [False] * 19) * 20
    assert audited(marks)[1] == []
    found, _ = audited([True] * 10)
    assert audited(marks, found)[1] == []


def test_both_claims_unreliable_is_demotion() -> None:
    found, _ = audited([True] * 10)
    changes = [found.audit("maths", "math", "reject", is_wrong=True) for _ in range(10)]
    assert [(change.before, change.after) for change in changes if change] == [("accepts escalated", "demoted")]
    assert found.routes() == {("maths", "math"): {"accept", "reject"}}


def test_domains_and_sources_are_apart() -> None:
    found, _ = audited([True] * 10)
    assert found.escalated("maths", "physics") == found.escalated("code", "math") == frozenset()


def test_the_highest_opinion_that_claims_something_is_the_measure() -> None:
    found = Reliability(TOLERANCE)
    found.take_opinions("math", [opinion("maths", True), opinion("verifier", False), opinion("judge", None, score=0.4)])
    found.take_opinions("math", [opinion("maths", None), opinion("verifier", True)])
    found.take_opinions("math", [opinion("maths", False)])
    (rate,) = found.rates()
    assert (rate.source, rate.claim, rate.audited, rate.wrong) == ("maths", "accept", 1, 1)


def test_a_source_that_is_not_believed_is_no_measure_of_others() -> None:
    found, _ = audited([True] * 10)
    assert found.take_opinions("math", [opinion("other", False), opinion("maths", True)]) == []
    assert [rate.source for rate in found.rates()] == ["maths"]


GOLD = {"source": "maths", "domain": "math", "origin": "gold", "low": 0.0, "high": 1.0}


def test_gold_answers_that_are_rejected_are_a_start() -> None:
    found = Reliability(TOLERANCE)
    (change,) = found.take_gold([Rate(**GOLD, claim="reject", audited=100, wrong=30)])  # type: ignore[arg-type]
    assert (change.after, found.escalated("maths", "math")) == ("rejects escalated", {"reject"})
    (rate,) = found.rates()
    assert (rate.origin, rate.audited, rate.wrong) == ("gold", 100, 30)
    assert rate.low < 0.3 < rate.high


def test_gold_answers_that_are_accepted_are_no_change() -> None:
    assert Reliability(TOLERANCE).take_gold([Rate(**GOLD, claim="reject", audited=100, wrong=1)]) == []  # type: ignore[arg-type]


audits = st.lists(
    st.tuples(
        st.sampled_from(["maths", "code"]), st.sampled_from(["accept", "reject"]), st.sampled_from([True, False, False])
    ),
    max_size=150,
)


@given(first=audits, later=audits)
def test_a_restart_changes_no_measurement_and_no_later_change(
    first: list[tuple[str, str, bool]], later: list[tuple[str, str, bool]]
) -> None:
    original, restored = Reliability(TOLERANCE), Reliability(TOLERANCE)
    for source, claim, is_wrong in first:
        original.audit(source, "math", claim, is_wrong=is_wrong)  # type: ignore[arg-type]
    restored.restore(json.loads(json.dumps(original.to_json())))
    for source, claim, is_wrong in later:
        one = original.audit(source, "math", claim, is_wrong=is_wrong)  # type: ignore[arg-type]
        assert one == restored.audit(source, "math", claim, is_wrong=is_wrong)  # type: ignore[arg-type]
    assert original.to_json() == restored.to_json()


@given(first=audits)
def test_every_change_is_written_down_and_follows_the_one_before(first: list[tuple[str, str, bool]]) -> None:
    found = Reliability(TOLERANCE)
    state = {"maths": "trusted", "code": "trusted"}
    for source, claim, is_wrong in first:
        change = found.audit(source, "math", claim, is_wrong=is_wrong)  # type: ignore[arg-type]
        if change is not None:
            assert change.before == state[source] != change.after
            state[source] = change.after
        assert STATES[found.escalated(source, "math")] == state[source]


@given(wrong=st.integers(0, 50), right=st.integers(0, 50), confidence=st.sampled_from([0.9, 0.95, 0.995]))
def test_an_interval_holds_the_rate(wrong: int, right: int, confidence: float) -> None:
    audited = wrong + right
    if audited:
        low, high = interval(wrong, audited, confidence)
        assert 0 <= low <= wrong / audited <= high <= 1
