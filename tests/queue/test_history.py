"""Estimates of pass rate and length from past trajectories."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.errors import WrongUse
from pangu_verl.queue.history import PRIOR_TRAJECTORIES, ROW_MEMORY, Estimate, PromptHistory

GROUPS = st.lists(
    st.tuples(
        st.sampled_from(["maths", "code"]),
        st.none() | st.integers(0, 9),
        st.lists(st.sampled_from([True, False, None]), max_size=8),
        st.lists(st.integers(0, 100_000), max_size=8),
    ),
    max_size=20,
)


def recorded(groups: list[tuple[str, int | None, list[bool | None], list[int]]]) -> PromptHistory:
    history = PromptHistory(10)
    for task, row, passed, tokens in groups:
        history.record(task, row, passed, tokens)
    return history


def test_nothing_is_known_of_a_task_that_was_never_seen() -> None:
    history = PromptHistory(10)
    history.record("maths", 0, [True], [5])
    assert history.estimate("code", 1) == Estimate(None, None)


def test_a_row_never_seen_is_expected_to_be_as_its_task_is() -> None:
    history = PromptHistory(10)
    history.record("maths", 0, [True, True, False, False], [100, 300])
    history.record("maths", None, [True, True], [200, 200])
    estimate = history.estimate("maths", 5)
    assert estimate.pass_rate == pytest.approx((4 + 1) / (6 + 2), abs=1e-3)
    assert estimate.expected_tokens == pytest.approx(200.0)
    assert history.estimate("maths", None) == estimate


def test_a_row_that_was_seen_is_drawn_towards_its_task_by_the_weight_of_the_prior() -> None:
    history = PromptHistory(10)
    history.record("maths", 3, [True] * 8, [400] * 8)
    estimate = history.estimate("maths", 3)
    assert estimate.pass_rate == pytest.approx((8 + PRIOR_TRAJECTORIES * 0.9) / (8 + PRIOR_TRAJECTORIES))
    assert estimate.expected_tokens == pytest.approx(400.0)


def test_the_last_group_of_a_row_weighs_more_than_those_before() -> None:
    history = PromptHistory(10)
    history.record("maths", 3, [True] * 8, [400] * 8)
    history.record("maths", 3, [False] * 8, [800] * 8)
    alone = PromptHistory(10)
    alone.record("maths", 3, [False] * 8 + [True] * 8, [800] * 8 + [400] * 8)
    last, both = history.estimate("maths", 3), alone.estimate("maths", 3)
    assert last.pass_rate is not None and both.pass_rate is not None
    assert last.expected_tokens is not None and both.expected_tokens is not None
    assert last.pass_rate < both.pass_rate
    assert last.expected_tokens > both.expected_tokens
    assert last.expected_tokens == pytest.approx(
        (8 * 800 + ROW_MEMORY * 8 * 400 + PRIOR_TRAJECTORIES * 600) / (8 + ROW_MEMORY * 8 + PRIOR_TRAJECTORIES),
        rel=1e-3,
    )


def test_trajectories_that_were_not_judged_leave_the_pass_rate_as_it_was() -> None:
    history = PromptHistory(10)
    history.record("maths", 3, [True, None, None], [])
    before = history.estimate("maths", 3)
    history.record("maths", 3, [None] * 8, [])
    assert history.estimate("maths", 3) == before
    assert before.pass_rate == pytest.approx((1 + PRIOR_TRAJECTORIES * 2 / 3) / (1 + PRIOR_TRAJECTORIES))
    assert before.expected_tokens is None


def test_lengths_are_known_without_any_verdict() -> None:
    history = PromptHistory(10)
    history.record("chat", 0, [], [50])
    assert history.estimate("chat", 0) == Estimate(None, 50.0)


@settings(deadline=None)
@given(GROUPS, st.integers(0, 9))
def test_an_estimate_lies_between_what_was_seen(
    groups: list[tuple[str, int | None, list[bool | None], list[int]]], row: int
) -> None:
    estimate = recorded(groups).estimate("maths", row)
    lengths = [number for _, _, _, tokens in groups for number in tokens]
    assert estimate.pass_rate is None or 0.0 < estimate.pass_rate < 1.0
    assert (estimate.expected_tokens is None) == (not any(tokens for task, _, _, tokens in groups if task == "maths"))
    if estimate.expected_tokens is not None:
        assert min(lengths) * (1 - 1e-9) <= estimate.expected_tokens <= max(lengths) * (1 + 1e-9)


@settings(deadline=None)
@given(GROUPS, GROUPS)
def test_a_history_goes_on_after_json_as_if_it_had_never_stopped(
    before: list[tuple[str, int | None, list[bool | None], list[int]]],
    after: list[tuple[str, int | None, list[bool | None], list[int]]],
) -> None:
    whole = recorded(before)
    resumed = PromptHistory.from_json(json.loads(json.dumps(whole.to_json())))
    for task, row, passed, tokens in after:
        whole.record(task, row, passed, tokens)
        resumed.record(task, row, passed, tokens)
    assert resumed.to_json() == whole.to_json()


def test_only_rows_that_were_seen_are_written() -> None:
    history = PromptHistory(1_000_000)
    history.record("maths", 999_999, [True], [7])
    assert history.to_json()["rows"]["row"] == [999_999]
    assert len(json.dumps(history.to_json())) < 500


@pytest.mark.parametrize("row", [-1, 10])
def test_a_row_outside_of_the_data_set_is_refused(row: int) -> None:
    history = PromptHistory(10)
    with pytest.raises(WrongUse, match=f"row {row} is outside of the 10 rows"):
        history.record("maths", row, [True], [7])
    with pytest.raises(WrongUse, match="another data set"):
        history.estimate("maths", row)


def test_a_refused_group_leaves_the_history_as_it_was() -> None:
    history = PromptHistory(10)
    with pytest.raises(ValueError, match="0 or more tokens, not -1"):
        history.record("maths", 0, [True], [3, -1])
    with pytest.raises(WrongUse):
        history.record("maths", 10, [True], [3])
    assert history.to_json() == PromptHistory(10).to_json()


def test_a_data_set_of_fewer_than_no_rows_is_refused() -> None:
    with pytest.raises(WrongUse, match="not -1"):
        PromptHistory(-1)


def written() -> dict[str, Any]:
    history = PromptHistory(10)
    history.record("maths", 3, [True, False], [5, 6])
    found: dict[str, Any] = json.loads(json.dumps(history.to_json()))
    return found


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("format",), 2, "format 1"),
        (("num_rows",), -1, "'num_rows', got -1"),
        (("num_rows",), True, "'num_rows', got True"),
        (("num_rows",), 3, "expected rows 0 to 2"),
        (("tasks",), [], "by 'tasks' and by 'rows'"),
        (("tasks", "maths"), None, "'judged' of task 'maths'"),
        (("tasks", "maths", "tokens"), "many", "'tokens' of task 'maths'"),
        (("tasks", "maths", "passed"), 3.0, "more trajectories passed than were judged in task 'maths'"),
        (("rows", "row"), [3.0], "expected rows 0 to 9"),
        (("rows", "row"), [10], "expected rows 0 to 9"),
        (("rows", "row"), [3, 3], "a row comes twice"),
        (("rows", "judged"), [], "expected 1 finite numbers of 0 or more as 'judged' of the rows"),
        (("rows", "tokens"), [math.nan], "'tokens' of the rows"),
        (("rows", "tokens"), [-1.0], "'tokens' of the rows"),
        (("rows", "tokens"), [10**400], "'tokens' of the rows"),
        (("rows", "passed"), [9.0], "more trajectories passed than were judged in the rows"),
    ],
)
def test_a_history_that_was_not_written_by_us_is_refused_by_field(
    place: tuple[str, ...], value: object, message: str
) -> None:
    found = written()
    holder = found
    for name in place[:-1]:
        holder = holder[name]
    holder[place[-1]] = value
    with pytest.raises(ValueError, match=message):
        PromptHistory.from_json(found)


@pytest.mark.parametrize("found", [None, [], "text", {}])
def test_what_is_no_history_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match="expected a history of prompts"):
        PromptHistory.from_json(found)
