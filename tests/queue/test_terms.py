"""What each built-in term says of candidates, and what columns have to be."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_candidates import candidates, group, groups, shares

from pangu_verl.conformity import shortcoming
from pangu_verl.queue.entries import Group
from pangu_verl.queue.terms.built_in import (
    Age,
    DeadlineSlack,
    ExpectedLength,
    Informativeness,
    TaskShareDeficit,
    built_in_terms,
)
from pangu_verl.queue.terms.candidates import Candidates, Point
from pangu_verl.types import PriorityTerm

POINTS: tuple[Point, ...] = ("dispatch", "request", "select")


@pytest.mark.parametrize("term", built_in_terms(), ids=lambda term: term.name)
def test_a_built_in_term_is_what_the_protocol_asks_for(term: PriorityTerm) -> None:
    assert shortcoming(term, PriorityTerm) is None


@pytest.mark.parametrize("term", built_in_terms(), ids=lambda term: term.name)
@settings(deadline=None)
@given(found=groups(), version=st.integers(0, 30), point=st.sampled_from(POINTS), taken=shares, targets=shares)
def test_every_score_lies_within_one_of_zero_whatever_the_columns_hold(
    term: PriorityTerm,
    found: list[Group],
    version: int,
    point: Point,
    taken: Mapping[str, float],
    targets: Mapping[str, float],
) -> None:
    score = term.score(candidates(found, point=point, version=version, taken=taken, targets=targets))
    assert score.dtype == np.float64
    assert score.shape == (len(found),)
    assert np.all(np.abs(score) <= 1.0)


@pytest.mark.parametrize("term", built_in_terms(), ids=lambda term: term.name)
@settings(deadline=None)
@given(found=groups(least=2), version=st.integers(0, 30), taken=shares, targets=shares, draw=st.randoms())
def test_a_score_does_not_depend_on_the_sequence_of_the_candidates(
    term: PriorityTerm,
    found: list[Group],
    version: int,
    taken: Mapping[str, float],
    targets: Mapping[str, float],
    draw: random.Random,
) -> None:
    def by_order(some: list[Group]) -> dict[int, float]:
        score = term.score(candidates(some, version=version, taken=taken, targets=targets))
        return dict(zip([group.order for group in some], score.tolist(), strict=True))

    shuffled = draw.sample(found, len(found))
    assert by_order(shuffled) == by_order(found)


def test_slack_puts_the_earliest_deadline_first_whatever_the_bounds() -> None:
    found = [group(0, started=3), group(1, task="code", started=2), group(2, started=4)]
    score = DeadlineSlack().score(candidates(found, version=4, bounds={"maths": 3, "code": 3}))
    assert score.tolist() == [1 / 3, 1 / 2, 1 / 4]
    score = DeadlineSlack().score(candidates(found, version=4, bounds={"maths": 1, "code": 4}))
    assert score.tolist() == [1.0, 1 / 3, 1 / 2]


def test_slack_says_nothing_of_a_group_that_waits() -> None:
    assert DeadlineSlack().score(candidates([group(0)], version=9)).tolist() == [0.0]


def test_slack_of_a_deadline_that_has_gone_is_as_urgent_as_can_be() -> None:
    assert DeadlineSlack().score(candidates([group(0, started=1)], version=9)).tolist() == [1.0]


def test_a_task_that_has_had_less_than_its_share_comes_first() -> None:
    found = [group(0), group(1, task="code")]
    score = TaskShareDeficit().score(
        candidates(found, taken={"maths": 60.0, "code": 40.0}, targets={"maths": 1, "code": 1})
    )
    assert score[0] < 0.0 < score[1]


def test_one_choice_is_spread_over_the_tasks_in_proportion_to_their_targets() -> None:
    found = [group(order) for order in range(40)] + [group(40 + order, task="code") for order in range(40)]
    score = TaskShareDeficit().score(candidates(found, targets={"maths": 0.75, "code": 0.25}))
    first = np.argsort(-score, kind="stable")[:20]
    assert int((first < 40).sum()) == 15


def test_a_task_that_is_behind_is_made_up_for_before_the_tasks_are_spread() -> None:
    found = [group(order) for order in range(40)] + [group(40 + order, task="code") for order in range(40)]
    score = TaskShareDeficit().score(
        candidates(found, taken={"maths": 110.0, "code": 100.0}, targets={"maths": 1.0, "code": 1.0})
    )
    first = np.argsort(-score, kind="stable")[:20]
    assert int((first >= 40).sum()) == 15


@settings(deadline=None)
@given(st.lists(st.sampled_from(["maths", "code"]), min_size=64, max_size=64), st.integers(1, 9))
def test_shares_stay_within_one_group_of_their_targets(arriving: list[str], tenths: int) -> None:
    waiting = [group(order, task=task) for order, task in enumerate(["maths", "code"] * 100 + arriving)]
    targets, taken = {"maths": float(tenths), "code": 10.0 - tenths}, {"maths": 0.0, "code": 0.0}
    for _ in range(10):
        score = TaskShareDeficit().score(candidates(waiting, taken=taken, targets=targets))
        for position in sorted(np.argsort(-score, kind="stable")[:10].tolist(), reverse=True):
            taken[waiting.pop(position).task] += 1
        assert abs(taken["maths"] - sum(taken.values()) * tenths / 10) <= 1.0


def test_a_task_with_a_target_of_nothing_comes_last_and_one_without_a_target_is_left_alone() -> None:
    found = [group(0), group(1, task="code"), group(2, task="chat")]
    score = TaskShareDeficit().score(candidates(found, targets={"maths": 1.0, "code": 0.0}))
    assert score[0] > 0.0
    assert score[1:].tolist() == [-1.0, 0.0]


def test_without_targets_task_shares_say_nothing() -> None:
    assert TaskShareDeficit().score(candidates([group(0)], taken={"maths": 3.0})).tolist() == [0.0]


def test_length_is_measured_against_the_median_and_unknown_lengths_count_as_the_median() -> None:
    found = [group(0, tokens=100), group(1, tokens=200), group(2, tokens=400), group(3)]
    score = ExpectedLength().score(candidates(found))
    assert score.tolist() == pytest.approx([-1 / 3, 0.0, 1 / 3, 0.0])


def test_expected_length_says_nothing_of_groups_whose_tokens_are_there() -> None:
    found = [group(0, tokens=100), group(1, tokens=300)]
    assert ExpectedLength().score(candidates(found, point="select")).tolist() == [0.0, 0.0]


def test_an_unknown_pass_rate_stands_between_half_solved_and_always_solved() -> None:
    found = [group(0, pass_rate=0.5), group(1), group(2, pass_rate=1.0), group(3, pass_rate=0.0)]
    assert Informativeness().score(candidates(found)).tolist() == [0.5, 0.0, -1.0, -1.0]


def test_the_prior_of_an_unknown_pass_rate_is_uniform() -> None:
    rates = (np.arange(1_000) + 0.5) / 1_000
    score = Informativeness().score(candidates([group(order, pass_rate=float(p)) for order, p in enumerate(rates)]))
    assert float(score.mean()) == pytest.approx(0.0, abs=1e-5)


def test_age_is_a_half_at_one_version_over_the_bound() -> None:
    found = [group(0, admitted=2), group(1, admitted=4), group(2, admitted=5)]
    assert Age().score(candidates(found, version=5)).tolist() == [0.5, 0.25, 0.0]


def test_a_term_cannot_write_to_the_columns_and_the_callers_array_stays_its_own() -> None:
    made = candidates([group(0)])
    with pytest.raises(ValueError, match="read-only"):
        made.orders[0] = 7
    mine = np.zeros(1)
    dataclasses.replace(made, pass_rates=mine)
    mine[0] = 1.0


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            "pass_rates",
            np.zeros(2),
            r"'pass_rates' of candidates: expected float64 of shape \(1,\), got float64 of shape",
        ),
        ("tasks", np.zeros(1), r"'tasks' of candidates: expected int64 of shape \(1,\), got float64"),
        ("tasks", [0], "got list"),
        ("target_shares", np.array([-1.0]), "'target_shares' of candidates: expected finite numbers of 0 or more"),
        ("taken_groups", np.array([np.inf]), "'taken_groups'"),
    ],
)
def test_a_column_of_another_kind_is_refused_by_name(column: str, value: Any, message: str) -> None:
    made = candidates([group(0)])
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(made, **{column: value})


def test_candidates_hold_what_the_groups_say() -> None:
    found = [group(7, task="code", admitted=1, started=3, tokens=12.0, pass_rate=0.25), group(9)]
    made: Candidates = candidates(found, version=4, bounds={"code": 1}, taken={"chat": 2.0}, targets={"code": 0.5})
    assert len(made) == 2
    assert made.task_names == ("chat", "code", "maths")
    assert made.tasks.tolist() == [1, 2]
    assert made.orders.tolist() == [7, 9]
    assert made.admitted_versions.tolist() == [1, 0]
    assert made.started_versions.tolist() == [3, -1]
    assert made.bounds_versions.tolist() == [1, 2]
    assert made.trajectories.tolist() == [8, 8]
    assert made.finished_trajectories.tolist() == [0, 0]
    np.testing.assert_array_equal(made.expected_tokens, [12.0, np.nan])
    np.testing.assert_array_equal(made.pass_rates, [0.25, np.nan])
    np.testing.assert_array_equal(made.taken_groups, [2.0, 0.0, 0.0])
    np.testing.assert_array_equal(made.target_shares, [np.nan, 0.5, np.nan])
