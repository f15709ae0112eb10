"""Credits: a group starts only where it, and all that are started, can still be trained on in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.scheduler.deadlines import Deadlines


def with_deadlines(*deadlines: int, groups_per_version: int = 2) -> Deadlines:
    credits = Deadlines(groups_per_version)
    for deadline in deadlines:
        credits.add(deadline)
    return credits


def are_in_time(deadlines: list[int], groups_per_version: int, version: int, consumed: int) -> bool:
    """Earliest deadline first, place by place."""
    return all(
        version + (place + consumed) // groups_per_version <= deadline
        for place, deadline in enumerate(sorted(deadlines))
    )


def test_with_one_bound_there_is_room_for_s_plus_1_versions() -> None:
    credits = Deadlines(groups_per_version=3)
    num_started = 0
    while credits.has_room(2, version=0, consumed_at_version=0):
        credits.add(2)
        num_started += 1
    assert num_started == (2 + 1) * 3


def test_what_is_consumed_at_this_version_takes_places() -> None:
    assert with_deadlines(0).has_room(0, version=0, consumed_at_version=0)
    assert not with_deadlines(0).has_room(0, version=0, consumed_at_version=1)


def test_a_version_that_is_over_has_no_room_under_bound_0() -> None:
    assert not with_deadlines().has_room(4, version=4, consumed_at_version=2)


def test_a_tight_group_finds_no_room_among_looser_ones_that_fill_the_pipe() -> None:
    assert not with_deadlines(1, 1, 1, 1).has_room(0, version=0, consumed_at_version=0)


def test_a_loose_group_finds_room_behind_tight_ones() -> None:
    credits = with_deadlines(0, 0)
    assert credits.has_room(1, version=0, consumed_at_version=0)
    assert not credits.has_room(0, version=0, consumed_at_version=0)


def test_earlier_deadlines_without_room_do_not_keep_later_groups_out() -> None:
    assert with_deadlines(0, 0, 0).has_room(2, version=0, consumed_at_version=0)


def test_what_is_removed_gives_its_place_back() -> None:
    credits = with_deadlines(0, 0)
    credits.remove(0)
    assert credits.has_room(0, version=0, consumed_at_version=0)


def test_planning_in_a_copy_changes_nothing() -> None:
    credits = with_deadlines(0)
    Deadlines.copy_of(credits).add(0)
    assert credits.has_room(0, version=0, consumed_at_version=0)


@given(
    st.lists(st.integers(3, 8), max_size=24), st.integers(1, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 4)
)
def test_there_is_room_just_where_all_are_in_time(
    wanted: list[int], groups_per_version: int, version: int, consumed: int, bound: int
) -> None:
    consumed = min(consumed, groups_per_version)
    credits = Deadlines(groups_per_version)
    started: list[int] = []
    for deadline in wanted:
        if are_in_time([*started, deadline], groups_per_version, version, consumed):
            credits.add(deadline)
            started.append(deadline)
    deadline = version + bound
    assert credits.has_room(deadline, version, consumed) == are_in_time(
        [*started, deadline], groups_per_version, version, consumed
    )
