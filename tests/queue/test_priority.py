"""The order that weights and terms make, the numbers for a server, and what the anchored window keeps."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_candidates import Fixed, candidates, group, groups, shares

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.entries import Group
from pangu_verl.queue.priority import Priority, anchored, maximum_age_steps
from pangu_verl.queue.terms.built_in import built_in_terms
from pangu_verl.queue.terms.candidates import Candidates

WEIGHTS = st.fixed_dictionaries({term.name: st.floats(-1e3, 1e3) for term in built_in_terms()})


def orders(priority: Priority, found: list[Group]) -> list[int]:
    return [found[position].order for position in priority.order(candidates(found)).tolist()]


def test_the_highest_weighted_sum_comes_first() -> None:
    found = [group(order) for order in range(3)]
    terms = [Fixed("a", {0: 0.0, 1: 1.0, 2: 0.5}), Fixed("b", {0: 1.0, 1: 0.0, 2: 0.6})]
    assert orders(Priority(terms, {"a": 1.0, "b": 0.1}), found) == [1, 2, 0]
    assert orders(Priority(terms, {"a": 0.1, "b": 1.0}), found) == [0, 2, 1]


def test_equal_scores_are_served_in_the_order_of_admission() -> None:
    found = [group(5), group(2), group(9)]
    assert orders(Priority([Fixed("a", {5: 0.5, 2: 0.5, 9: 0.5})], {"a": 1.0}), found) == [2, 5, 9]


def test_a_negative_weight_turns_a_term_round() -> None:
    found = [group(0), group(1)]
    assert orders(Priority([Fixed("a", {0: 1.0, 1: -1.0})], {"a": -2.0}), found) == [1, 0]


def test_a_term_without_weight_is_not_computed() -> None:
    unused, absent = Fixed("unused", {0: 1.0}), Fixed("absent", {0: 1.0})
    priority = Priority([unused, absent], {"unused": 0.0})
    assert orders(priority, [group(0)]) == [0]
    assert unused.calls == absent.calls == 0
    assert priority.weights == {}


def test_nothing_to_order_is_an_empty_order() -> None:
    assert Priority(built_in_terms(), {"age": 1.0}).order(candidates([])).tolist() == []


@settings(deadline=None)
@given(found=groups(), weights=WEIGHTS, taken=shares, targets=shares, draw=st.randoms())
def test_an_order_does_not_depend_on_the_sequence_of_the_candidates(
    found: list[Group],
    weights: dict[str, float],
    taken: dict[str, float],
    targets: dict[str, float],
    draw: random.Random,
) -> None:
    priority = Priority(built_in_terms(), weights)

    def ordered(some: list[Group]) -> list[int]:
        made = candidates(some, version=7, taken=taken, targets=targets)
        return [some[position].order for position in priority.order(made).tolist()]

    assert ordered(draw.sample(found, len(found))) == ordered(found)


def test_very_large_weights_still_weigh() -> None:
    found = [group(0), group(1)]
    terms = [Fixed("a", {0: 0.0, 1: 1.0}), Fixed("b", {0: 0.0, 1: 1.0})]
    assert orders(Priority(terms, {"a": 1e308, "b": 1e308}), found) == [1, 0]


def test_a_weight_that_names_no_term_is_refused_with_the_known_ones() -> None:
    with pytest.raises(WrongUse, match=r"'lenght' names no term \(known: age, deadline_slack, .*pangu-verl plugins"):
        Priority(built_in_terms(), {"lenght": 1.0})


@pytest.mark.parametrize("weight", [math.nan, math.inf, True, "1", None])
def test_a_weight_that_is_no_finite_number_is_refused_by_name(weight: object) -> None:
    with pytest.raises(WrongUse, match="'age' is a finite number"):
        Priority(built_in_terms(), {"age": weight})  # type: ignore[dict-item]


def test_two_terms_of_one_name_are_refused() -> None:
    with pytest.raises(WrongUse, match="unique names, but age came twice"):
        Priority([*built_in_terms(), Fixed("age", {})], {})


class Broken:
    name = "broken"

    def __init__(self, score: Callable[[], object]) -> None:
        self._score = score

    def score(self, candidates: Candidates) -> object:
        return self._score()


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda: np.array([0.0, math.nan]), "expected finite numbers, got nan for the group of order 4"),
        (lambda: np.array([-math.inf, 0.0]), "got -inf for the group of order 3"),
        (lambda: np.zeros(3), r"expected float64 of shape \(2,\), got float64 of shape \(3,\)"),
        (lambda: np.zeros((2, 1)), r"got float64 of shape \(2, 1\)"),
        (lambda: np.zeros(2, dtype=np.int64), "got int64"),
        (lambda: [0.0, 0.0], "got list"),
        (lambda: None, "got NoneType"),
        (lambda: 1 / 0, "failed: ZeroDivisionError: division by zero"),
    ],
)
def test_a_broken_term_is_named(score: Callable[[], object], message: str) -> None:
    priority = Priority([Broken(score)], {"broken": 1.0})  # type: ignore[list-item]
    with pytest.raises(RunFailed, match=f"priority term 'broken'.*{message}"):
        priority.order(candidates([group(3), group(4)]))


def test_request_numbers_of_equal_scores_keep_the_order_of_admission() -> None:
    numbers = Priority([], {}).request_priorities(candidates([group(5), group(2)]), 64)
    assert numbers[1] < numbers[0]


def test_a_higher_score_gives_a_lower_request_number_inside_the_window() -> None:
    terms = [Fixed("a", {10: -1.0, 11: 1.0, 20: 1.0})]
    found = [group(10), group(11), group(20)]
    assert Priority(terms, {"a": 1.0}).request_priorities(candidates(found), 8) == [17, 11, 20]


def test_a_window_of_one_makes_request_numbers_the_order_of_admission() -> None:
    terms = [Fixed("a", {10: -1.0, 11: 1.0})]
    assert Priority(terms, {"a": 1.0}).request_priorities(candidates([group(10), group(11)]), 1) == [10, 11]


ADVERSARY = st.floats(-1e6, 1e6)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 60), ADVERSARY, max_size=8), max_size=6), st.integers(1, 12))
def test_no_group_is_passed_on_a_server_by_a_younger_one_outside_the_window(
    sent: list[dict[int, float]], window_groups: int
) -> None:
    """Requests of different choices meet on the server; each choice has its own scores."""
    numbers: list[tuple[int, int]] = []
    for scores in sent:
        made = candidates([group(order) for order in scores])
        priority = Priority([Fixed("adversary", scores)], {"adversary": 1.0})
        numbers += zip(scores, priority.request_priorities(made, window_groups), strict=True)
    for (older, its_number), (younger, number) in itertools.permutations(numbers, 2):
        if younger >= older + window_groups:
            assert number > its_number
    assert all(isinstance(number, int) and number >= 0 for _, number in numbers)


def test_the_window_is_counted_from_the_oldest_by_order_and_not_by_position() -> None:
    found = [group(order) for order in (3, 5, 9, 10, 11)]
    assert [one.order for one in anchored(found, 7)] == [3, 5, 9]
    assert [one.order for one in anchored(found, 1)] == [3]
    assert anchored([], 4) == []


@pytest.mark.parametrize("window_groups", [0, -3])
def test_a_window_without_a_group_is_refused(window_groups: int) -> None:
    with pytest.raises(WrongUse, match=f"at least 1 group, not {window_groups}"):
        anchored([group(0)], window_groups)
    with pytest.raises(WrongUse, match=f"at least 1 group, not {window_groups}"):
        Priority([], {}).request_priorities(candidates([]), window_groups)


def chosen_in_a_step(
    queue: list[Group], scores: Mapping[int, float], window_groups: int, step_groups: int
) -> list[Group]:
    """As a scheduler does: choose from the window; anchor it anew when all that it held was chosen."""
    priority = Priority([Fixed("adversary", scores)], {"adversary": 1.0})
    chosen: list[Group] = []
    while queue and len(chosen) < step_groups:
        offered = anchored(queue, window_groups)
        best = priority.order(candidates(offered)).tolist()[: step_groups - len(chosen)]
        chosen += [offered[position] for position in best]
        for position in sorted(best, reverse=True):
            del queue[position]
    return chosen


#: For each step: how many groups arrive, and the scores that the adversary gives this time.
STEPS = st.lists(st.tuples(st.integers(0, 9), st.lists(ADVERSARY, min_size=100, max_size=100)), max_size=12)


@settings(deadline=None)
@given(STEPS, st.integers(1, 12), st.integers(1, 5))
def test_no_group_is_passed_by_more_or_waits_longer_than_the_window_says(
    steps: list[tuple[int, list[float]]], window_groups: int, step_groups: int
) -> None:
    queue: list[Group] = []
    passed_by: dict[int, int] = {}
    steps_passed: dict[int, int] = {}
    most_steps: dict[int, int] = {}
    numbers = itertools.count()
    for arriving, scores in steps + [(0, [0.0] * 100)] * 100:
        for _ in range(arriving):
            new = group(next(numbers))
            most_steps[new.order] = maximum_age_steps(len(queue), window_groups, step_groups)
            passed_by[new.order] = steps_passed[new.order] = 0
            queue.append(new)
        for one in chosen_in_a_step(queue, dict(enumerate(scores)), window_groups, step_groups):
            for left in queue:
                passed_by[left.order] += left.order < one.order
        for left in queue:
            steps_passed[left.order] += 1
    assert not queue
    assert all(count <= window_groups - 1 for count in passed_by.values())
    assert all(steps_passed[order] <= most_steps[order] for order in steps_passed)


@settings(deadline=None)
@given(st.lists(ADVERSARY, min_size=20, max_size=20), st.lists(st.integers(0, 19), max_size=30), st.integers(1, 8))
def test_groups_that_come_back_do_not_let_more_younger_ones_pass(
    scores: list[float], returning: list[int], window_groups: int
) -> None:
    queue, under_way = [group(order) for order in range(20)], list[Group]()
    passed_by: dict[int, set[int]] = {order: set() for order in range(20)}
    for back in returning + [-1] * 60:
        under_way += (chosen := chosen_in_a_step(queue, dict(enumerate(scores)), window_groups, 1))
        for left in queue:
            passed_by[left.order] |= {one.order for one in chosen if one.order > left.order}
        for lost in [one for one in under_way if one.order == back]:
            under_way.remove(lost)
            queue = sorted([*queue, lost], key=lambda one: one.order)
    assert not queue
    assert all(len(younger) <= window_groups - 1 for younger in passed_by.values())


@settings(deadline=None)
@given(STEPS, st.integers(1, 5))
def test_a_window_of_one_is_first_come_first_served(steps: list[tuple[int, list[float]]], step_groups: int) -> None:
    queue: list[Group] = []
    numbers, served = itertools.count(), []
    for arriving, scores in steps:
        queue += [group(next(numbers)) for _ in range(arriving)]
        served += [one.order for one in chosen_in_a_step(queue, dict(enumerate(scores)), 1, step_groups)]
    assert served == sorted(served)


def test_the_oldest_age_is_reached_and_not_only_bounded() -> None:
    """Ten older groups and three younger ones of the window go before the group of order 10: 13 choices, 2 a step."""
    queue = [group(order) for order in range(20)]
    scores = {order: float(order != 10) for order in range(20)}
    steps = 0
    while all(one.order != 10 for one in chosen_in_a_step(queue, scores, 4, 2)):
        steps += 1
    assert steps == maximum_age_steps(10, 4, 2) == 6
