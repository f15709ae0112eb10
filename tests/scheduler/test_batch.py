"""Tokens over the bound stay out of the loss, and a batch that would train on one is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduler_made import prompt, trajectory

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import Group, Trajectory
from pangu_verl.scheduler.batch import Batch, TakenGroup, check_bound, masked_tokens, taken


def ready(*trajectories: Trajectory) -> Group:
    group = Group(prompt=prompt("p0", trajectories=len(trajectories)), order=0, admitted_version=0, started_version=0)
    group.finished = dict(enumerate(trajectories))
    return group


def batch_of(entry: TakenGroup, version: int) -> Batch:
    return Batch(step=4, version=version, groups=(entry,))


@pytest.mark.parametrize(("version", "masked"), [(3, 0), (4, 0), (5, 10), (6, 10), (7, 15), (9, 18)])
def test_the_segments_over_the_bound_are_masked(version: int, masked: int) -> None:
    assert masked_tokens(trajectory((2, 10), (4, 5), (5, 3)), version, bound_versions=2) == masked


def test_a_lag_of_just_the_bound_counts() -> None:
    assert masked_tokens(trajectory((0, 10)), version=3, bound_versions=3) == 0


def test_without_masks_nothing_is_masked() -> None:
    assert taken(ready(trajectory((0, 10))), version=9, bound_versions=0, masks=False).masked_tokens == (0,)


def test_members_keep_their_numbers_whatever_the_order_of_arrival() -> None:
    group = ready(trajectory((0, 3)), trajectory((5, 7)))
    group.finished = dict(reversed(group.finished.items()))
    assert taken(group, version=6, bound_versions=1, masks=True).masked_tokens == (3, 0)


def test_trained_tokens_are_those_not_masked() -> None:
    entry = taken(ready(trajectory((0, 3), (5, 4)), trajectory((5, 7))), version=6, bound_versions=1, masks=True)
    assert entry.trained_tokens == 4 + 7


def test_an_empty_answer_is_no_fault() -> None:
    entry = taken(ready(trajectory()), version=6, bound_versions=1, masks=True)
    check_bound(batch_of(entry, 6))
    assert entry.trained_tokens == 0


def test_a_token_over_the_bound_is_refused_with_its_whereabouts() -> None:
    entry = taken(ready(trajectory((6, 1)), trajectory((3, 10), (6, 5))), version=6, bound_versions=2, masks=False)
    with pytest.raises(
        RunFailed, match=r"step 4 .* version 3 at version 6, .* bound of 2 \(group 'p0', trajectory 1\)"
    ):
        check_bound(batch_of(entry, 6))


def test_a_mask_that_is_one_token_short_is_refused() -> None:
    group = ready(trajectory((3, 10), (6, 5)))
    check_bound(batch_of(TakenGroup(group, 2, (10,)), 6))
    with pytest.raises(RunFailed, match="over the bound"):
        check_bound(batch_of(TakenGroup(group, 2, (9,)), 6))


def test_a_version_that_goes_back_behind_the_mask_is_refused() -> None:
    entry = taken(ready(trajectory((6, 10), (3, 10))), version=6, bound_versions=2, masks=True)
    with pytest.raises(RunFailed, match="over the bound"):
        check_bound(batch_of(entry, 6))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 9)), max_size=6), st.integers(0, 6), st.integers(0, 8))
def test_whatever_grows_in_version_is_masked_to_the_bound(
    segments: list[tuple[int, int]], bound: int, lag: int
) -> None:
    version = 6 + lag
    made = trajectory(*sorted(segments))
    entry = taken(ready(made), version, bound, masks=True)
    check_bound(batch_of(entry, version))
    fresh = [segment for segment in made.segments if version - segment.version <= bound]
    assert entry.trained_tokens == sum(segment.tokens for segment in fresh)
