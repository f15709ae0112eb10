"""Priority chooses freely as long as every group that is left can still be trained on in time."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.queue.selection import choose


@dataclass(frozen=True)
class Case:
    """``preference`` lists positions of the ready groups, first choice first."""

    deadlines: list[int]
    preference: list[int]
    count: int
    version: int
    unready: list[int]
    per_version: int
    later: int

    def chosen(self) -> list[int]:
        found = choose(
            np.array(self.deadlines, dtype=np.int64),
            np.array(self.preference, dtype=np.int64),
            self.count,
            self.version,
            np.array(self.unready, dtype=np.int64),
            groups_per_version=self.per_version,
            later_groups=self.later,
        )
        assert len(set(found.tolist())) == len(found) == self.count
        listed: list[int] = found.tolist()
        return listed

    def is_in_time(self, now: tuple[int, ...]) -> bool:
        """By simulation, earliest deadline first: every group that is left finds a place by its deadline."""
        left = [deadline for position, deadline in enumerate(self.deadlines) if position not in now]
        left += [
            deadline
            for deadline in self.unready
            if deadline > self.version or (deadline == self.version and self.later)
        ]
        places = itertools.chain([self.version] * self.later, self.places_of_later_versions(len(left)))
        return all(place <= max(deadline, self.version) for deadline, place in zip(sorted(left), places, strict=False))

    def places_of_later_versions(self, versions: int) -> list[int]:
        return [self.version + 1 + number // self.per_version for number in range(versions * self.per_version)]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    version = draw(st.integers(0, 5))
    deadlines = draw(st.lists(st.integers(version - 1, version + 4), min_size=1, max_size=7))
    if draw(st.booleans()):
        deadlines.sort()
    count = draw(st.integers(1, len(deadlines)))
    several = draw(st.integers(1, 2))
    return Case(
        deadlines=deadlines,
        preference=draw(st.permutations(range(len(deadlines)))),
        count=count,
        version=version,
        unready=draw(st.lists(st.integers(version - 1, version + 4), max_size=5)),
        per_version=count * several,
        later=count * draw(st.integers(0, several - 1)),
    )


@settings(deadline=None, max_examples=500)
@given(cases())
def test_the_choice_is_in_time_whenever_any_choice_is_and_the_best_of_these_by_priority(case: Case) -> None:
    rank = {position: place for place, position in enumerate(case.preference)}
    choices = itertools.combinations(range(len(case.deadlines)), case.count)
    in_time = [sorted(rank[position] for position in choice) for choice in choices if case.is_in_time(choice)]
    found = [rank[position] for position in case.chosen()]
    if in_time:
        assert found == min(in_time)
    else:
        earliest = sorted(range(len(case.deadlines)), key=lambda position: case.deadlines[position])[: case.count]
        assert case.chosen() == earliest


@settings(deadline=None)
@given(cases())
def test_the_choice_is_in_time_whenever_oldest_first_is(case: Case) -> None:
    if case.is_in_time(tuple(range(case.count))):
        assert case.is_in_time(tuple(case.chosen()))


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=30), st.integers(1, 6), st.integers(0, 4), st.randoms())
def test_with_admission_by_credits_priority_in_every_step_never_breaks_a_deadline(
    arrivals: list[int], count: int, bound: int, draw: random.Random
) -> None:
    """The adversary prefers and admits at random, up to (bound + 1) x count groups alive; each is ready at once."""
    ready: list[int] = []
    for version, arriving in enumerate(arrivals):
        credit = (bound + 1) * count - len(ready)
        ready += [version + bound] * min(max(arriving, count - len(ready)), credit)
        preference = draw.sample(range(len(ready)), len(ready))
        now = choose(np.array(ready), np.array(preference), count, version, np.array([], dtype=np.int64)).tolist()
        ready = [deadline for position, deadline in enumerate(ready) if position not in now]
        assert all(deadline > version for deadline in ready)


def test_without_a_close_deadline_priority_is_followed() -> None:
    assert Case([9, 9, 9, 9], [3, 1, 0, 2], 2, 0, [], 2, 0).chosen() == [3, 1]


def test_a_group_due_now_is_taken_whatever_its_priority() -> None:
    assert Case([0, 3, 3, 3], [3, 2, 1, 0], 2, 0, [], 2, 0).chosen() == [3, 0]


def test_groups_under_way_with_an_early_deadline_take_their_places() -> None:
    assert Case([1, 1, 5, 5], [3, 2, 1, 0], 2, 0, [], 2, 0).chosen() == [3, 2]
    assert Case([1, 1, 5, 5], [3, 2, 1, 0], 2, 0, [1], 2, 0).chosen() == [3, 1]
    assert Case([1, 1, 5, 5], [3, 2, 1, 0], 2, 0, [1, 1], 2, 0).chosen() == [1, 0]


def test_a_group_under_way_that_no_choice_can_help_does_not_bind() -> None:
    assert Case([1, 1, 5, 5], [3, 2, 1, 0], 2, 0, [-1, 0], 2, 0).chosen() == [3, 2]


def test_groups_under_way_that_have_too_few_places_by_themselves_leave_the_earliest_deadlines() -> None:
    assert Case([5, 3], [0, 1], 1, 0, [1, 1], 1, 0).chosen() == [1]


def test_a_later_step_of_the_same_version_leaves_room() -> None:
    assert Case([0, 0, 5, 5], [3, 2, 1, 0], 2, 0, [], 4, 0).chosen() == [1, 0]
    assert Case([0, 0, 5, 5], [3, 2, 1, 0], 2, 0, [], 4, 2).chosen() == [3, 2]


def test_where_nothing_is_in_time_the_earliest_deadlines_go_and_among_equals_the_oldest() -> None:
    assert Case([2, 0, 0, 0, 1], [0, 4, 3, 2, 1], 2, 0, [], 2, 0).chosen() == [1, 2]


@pytest.mark.parametrize("deadline", [-(2**62), 2**62])
def test_deadlines_of_any_size_do_not_overflow(deadline: int) -> None:
    assert Case([deadline, 2**62, 2**62], [2, 1, 0], 1, 3, [deadline], 1, 0).chosen() == [0 if deadline < 0 else 2]


def test_no_group_to_choose_is_an_empty_choice() -> None:
    nothing = np.array([], dtype=np.int64)
    assert choose(nothing, nothing, 0, 0, nothing).tolist() == []
    assert choose(np.array([4]), np.array([0]), 0, 0, nothing).tolist() == []


@pytest.mark.parametrize("preference", [[0, 0], [0], [0, 2], [-1, 0], [0, 1, 2]])
def test_a_preference_that_is_no_order_of_the_ready_groups_is_refused(preference: list[int]) -> None:
    with pytest.raises(ValueError, match="positions of 2 ready groups"):
        choose(np.array([1, 1]), np.array(preference), 1, 0, np.array([], dtype=np.int64))


@pytest.mark.parametrize("count", [3, -1])
def test_more_groups_than_are_ready_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="2 are ready"):
        choose(np.array([1, 1]), np.array([0, 1]), count, 0, np.array([], dtype=np.int64))
