"""The counts of a run: every row once, the same after a restart, and an alarm where a source judges too little."""

from __future__ import annotations

import json
import string
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_rows import judged_row, opinion, verdict

from pangu_verl.mars.reliability import Tolerance
from pangu_verl.mars.state import JudgedRow, RewardState
from pangu_verl.mars.tallies import MAXIMUM_REASON_CLASSES, OTHER, Tally, reason_class

rows_of_runs = st.builds(
    judged_row,
    st.none() | st.booleans(),
    source=st.sampled_from(["maths", "code"]),
    domain=st.sampled_from(["math", "choice"]),
    reason=st.sampled_from(["no gold", "limit reached", "the judge is down"]),
)


def state_of(rows: list[JudgedRow], **limits: Any) -> RewardState:
    state = RewardState(**limits)
    for row in rows:
        state.record(row)
    return state


def restored(found: object, **limits: Any) -> RewardState:
    state = RewardState(**limits)
    state.restore(found)
    return state


def unjudged(reason: str = "no gold", source: str = "maths") -> JudgedRow:
    return judged_row(None, source=source, reason=reason)


JUDGED = judged_row()


@given(rows=st.lists(rows_of_runs, max_size=50))
def test_every_row_is_counted_once(rows: list[JudgedRow]) -> None:
    tallies = state_of(rows).tallies
    for key in {(row.verdict.source, row.domain) for row in rows}:
        own = [row.verdict for row in rows if (row.verdict.source, row.domain) == key]
        judged = [found for found in own if found.score is not None]
        assert tallies[key].judged == len(judged)
        assert tallies[key].passed == sum(found.passed is True for found in judged)
        assert tallies[key].unjudged == Counter(found.reason for found in own if found.score is None)
        assert tallies[key].seconds == pytest.approx(0.5 * len(own))


@given(rows=st.lists(rows_of_runs, max_size=50), later=st.lists(rows_of_runs, max_size=20))
def test_a_restart_changes_no_count(rows: list[JudgedRow], later: list[JudgedRow]) -> None:
    resumed = restored(json.loads(json.dumps(state_of(rows).to_json())))
    assert resumed.to_json() == state_of(rows).to_json()
    for row in later:
        resumed.record(row)
    assert resumed.to_json() == state_of([*rows, *later]).to_json()


@given(rows=st.lists(rows_of_runs, min_size=1, max_size=50), seed=st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_count(rows: list[JudgedRow], seed: Any) -> None:
    mixed = list(rows)
    seed.shuffle(mixed)
    first, second = state_of(rows).tallies, state_of(mixed).tallies
    assert first.keys() == second.keys()
    for key in first:
        assert (first[key].judged, first[key].passed) == (second[key].judged, second[key].passed)
        assert first[key].unjudged == second[key].unjudged


# --- the alarm -------------------------------------------------------------------------------------------------------


@given(
    outcomes=st.lists(st.booleans(), min_size=1, max_size=60),
    window_rows=st.integers(1, 16),
    limit=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
)
def test_the_alarm_is_the_share_of_the_last_rows(outcomes: list[bool], window_rows: int, limit: float) -> None:
    state = RewardState(unjudged_limit=limit, window_rows=window_rows)
    for count, is_judged in enumerate(outcomes, start=1):
        complaint, _ = state.record(JUDGED if is_judged else unjudged())
        unjudged_rows = outcomes[max(0, count - window_rows) : count].count(False)
        assert (complaint is not None) == (unjudged_rows > limit * window_rows)


def test_the_alarm_names_source_share_cause_and_key() -> None:
    state = state_of([unjudged("the judge is down")] * 3, unjudged_limit=0.5, window_rows=8)
    state.record(JUDGED)
    assert state.record(unjudged("no gold"))[0] is None
    complaint, _ = state.record(unjudged("the judge is down"))
    assert complaint == (
        "reward source 'maths' could not judge 5 of its last 6 rows (4 times: the judge is down), more than the share "
        "0.5 of 8 that pangu.rewards.unjudged_limit allows; mend the source or the rows, or raise the limit"
    )


def test_one_source_gives_no_alarm_for_another() -> None:
    state = state_of([unjudged(source="code")] * 9, unjudged_limit=0.5, window_rows=8)
    assert state.record(JUDGED)[0] is None
    assert state.record(unjudged())[0] is None


def test_a_restart_forgives_what_a_mended_source_left_unjudged() -> None:
    broken = state_of([unjudged()] * 9, unjudged_limit=0.5, window_rows=8)
    resumed = restored(broken.to_json(), unjudged_limit=0.5, window_rows=8)
    assert resumed.record(unjudged())[0] is None


def test_a_row_that_a_higher_source_decided_counts_for_both_and_is_no_alarm() -> None:
    state = RewardState(unjudged_limit=0.5, window_rows=2)
    decided = JudgedRow(
        id="7",
        domain="math",
        verdict=verdict(True, source="verifier"),
        opinions=(opinion("maths", None, reason="no gold"), opinion("verifier", True)),
    )
    assert [state.record(decided)[0] for _ in range(4)] == [None] * 4
    assert state.tallies["maths", "math"].unjudged.total() == state.tallies["verifier", "math"].judged == 4


def test_what_workers_share_follows_from_the_rows() -> None:
    state = RewardState(tolerance=Tolerance(error_rate=0.05, window_audits=20))
    disputed = JudgedRow(
        id="7",
        domain="math",
        verdict=verdict(True),
        opinions=(opinion("maths", True), opinion("verifier", False)),
        preference=("judge/poems", 0.5),
    )
    changes = [change for _ in range(5) for change in state.record(disputed)[1]]
    assert [(change.before, change.after) for change in changes] == [("trusted", "accepts escalated")]
    assert state.shared.escalated("maths", "math") == {"accept"}
    assert state.shared.escalated("maths", "code") == frozenset()
    assert state.shared.scales == {}
    state.publish_scales()
    assert state.shared.scales["judge/poems"].count == 5
    assert restored(state.to_json()).shared == state.shared


# --- reasons ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("the gold answer 'x+' cannot be read", "the gold answer … cannot be read"),
        ('returned "prose"', "returned …"),
        ("takes 2000 characters; has 12,345.6", "takes N characters; has N"),
        ("two\nlines", "two lines"),
        ("", OTHER),
        ("   ", OTHER),
    ],
)
def test_reasons_of_one_kind_have_one_class(reason: str, expected: str) -> None:
    assert reason_class(reason) == expected


@given(first=st.text(string.ascii_letters, max_size=20), second=st.text(string.ascii_letters, max_size=20))
def test_what_a_reason_quotes_does_not_tell_classes_apart(first: str, second: str) -> None:
    assert reason_class(f"cannot read '{first}' at 7") == reason_class(f"cannot read '{second}' at 123")


@given(reason=st.text(max_size=3000))
def test_a_class_is_short_and_on_one_line(reason: str) -> None:
    found = reason_class(reason)
    assert 0 < len(found) <= 80
    assert "\n" not in found
    assert reason_class(reason) == found


def test_reasons_without_end_take_no_memory_without_end() -> None:
    letters = [first + second + third for first in "abcdef" for second in "abcdef" for third in "abc"]
    tally = state_of([unjudged(letter) for letter in letters]).tallies["maths", "math"]
    assert len(tally.unjudged) == MAXIMUM_REASON_CLASSES + 1
    assert tally.unjudged.total() == len(letters)
    assert tally.unjudged[OTHER] == len(letters) - MAXIMUM_REASON_CLASSES


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_a_time_that_is_none_is_not_added(seconds: float) -> None:
    tally = Tally()
    tally.add(replace(opinion("maths", True), seconds=seconds))
    assert (tally.seconds, tally.judged) == (0.0, 1)


# --- what a checkpoint may hold --------------------------------------------------------------------------------------

ROW: dict[str, Any] = {"source": "maths", "domain": "math", "judged": 2, "passed": 1, "unjudged": {}, "seconds": 0.5}
STATE: dict[str, Any] = {"format": 2, "tallies": [ROW], "reliability": [], "preferences": {}}
CLAIM: dict[str, Any] = {
    "source": "maths",
    "domain": "math",
    "claim": "accept",
    "audited": 2,
    "wrong": 1,
    "gold_audited": 0,
    "gold_wrong": 0,
    "window": [0, 1],
    "is_escalated": False,
}


def test_a_state_made_by_hand_is_taken() -> None:
    assert restored({**STATE, "reliability": [CLAIM]}).to_json() == {**STATE, "reliability": [CLAIM]}


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        {},
        {**STATE, "format": 1},
        {"format": 2, "tallies": []},
        {**STATE, "tallies": {}},
        {**STATE, "tallies": ["row"]},
        *({**STATE, "tallies": [{**ROW, "judged": value}]} for value in (-1, 1.5, True, "2", None)),
        {**STATE, "tallies": [{**ROW, "passed": 3}]},
        *({**STATE, "tallies": [{**ROW, "seconds": value}]} for value in (-1, "1", None, True, float("inf"))),
        {**STATE, "tallies": [{**ROW, "seconds": float("nan")}]},
        {**STATE, "tallies": [{**ROW, "unjudged": []}]},
        {**STATE, "tallies": [{**ROW, "unjudged": {"no gold": -1}}]},
        {**STATE, "tallies": [{**ROW, "unjudged": {str(number): 1 for number in range(99)}}]},
        {**STATE, "tallies": [{**ROW, "source": None}]},
        {**STATE, "tallies": [ROW, ROW]},
        {**STATE, "preferences": []},
        {**STATE, "preferences": {"task": {"count": 1, "mean": float("nan"), "squares": 0.0}}},
        {**STATE, "preferences": {"task": {"count": -1, "mean": 0.0, "squares": 0.0}}},
        {**STATE, "reliability": {}},
        {**STATE, "reliability": [{}]},
        *({**STATE, "reliability": [{**CLAIM, "audited": value}]} for value in (-1, 1.5, True, "2", None)),
        {**STATE, "reliability": [{**CLAIM, "claim": "maybe"}]},
        {**STATE, "reliability": [{**CLAIM, "window": [2]}]},
        {**STATE, "reliability": [{**CLAIM, "is_escalated": 1}]},
        {**STATE, "reliability": [{**CLAIM, "source": 3}]},
    ],
)
def test_counts_that_are_none_are_refused_and_change_nothing(found: object) -> None:
    state = state_of([JUDGED])
    before = state.to_json()
    with pytest.raises(ValueError):
        state.restore(found)
    assert state.to_json() == before


@given(found=st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5))
def test_other_json_is_refused_without_another_error(found: object) -> None:
    with pytest.raises(ValueError):
        restored(found)
