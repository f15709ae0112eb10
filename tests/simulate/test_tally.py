"""What is counted of a batch, whatever the selection believes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.queue.entries import Group, Prompt, Segment, Trajectory
from pangu_verl.scheduler.batch import Batch, TakenGroup
from pangu_verl.simulate.tally import Tally, percentile

SEGMENTS = (Segment(0, 10), Segment(2, 5), Segment(3, 5))


def batch(version: int, bound: int, masked: int, attempt: int = 0) -> Batch:
    """One group of one trajectory of 20 tokens, of which ``masked`` are left out."""
    prompt = Prompt(key="p0", task="math", trajectories=1)
    group = Group(prompt=prompt, order=0, admitted_version=1, attempt=attempt, finished={0: Trajectory(SEGMENTS)})
    return Batch(step=0, version=version, groups=(TakenGroup(group, bound, (masked,)),))


def test_lags_are_those_of_the_tokens_that_are_trained_on() -> None:
    tally = Tally()
    facts = tally.consume(batch(3, bound=1, masked=12), 0.0, 1.0)
    assert tally.trained_tokens_by_lag == {1: 3, 0: 5}
    assert facts.mean_trained_lag == 3 / 8
    assert (facts.forwarded_tokens, facts.trained_tokens, facts.train_s) == (20, 8, 20.0)
    assert tally.num_violations == 0


def test_tokens_over_the_bound_are_violations_even_where_the_selection_masks_too_few() -> None:
    tally = Tally()
    tally.consume(batch(3, bound=1, masked=7), 0.0, 1.0)
    assert tally.num_violations == 3


def test_a_trajectory_that_is_masked_whole_is_forwarded_unless_it_may_be_left_out() -> None:
    facts = Tally().consume(batch(9, bound=1, masked=20), 0.0, 1.0)
    assert (facts.forwarded_tokens, facts.trained_tokens) == (20, 0)
    tally = Tally(forwards_masked=False)
    facts = tally.consume(batch(9, bound=1, masked=20), 0.0, 1.0)
    assert (facts.forwarded_tokens, facts.consumed_tokens, facts.trained_tokens) == (0, 20, 0)
    assert (facts.train_s, facts.mean_trained_lag) == (0.0, 0.0)
    assert tally.num_trajectories == 1


def test_what_is_left_over_counts_towards_starvation() -> None:
    tally = Tally()
    [entry] = batch(3, bound=1, masked=0, attempt=4).groups
    tally.count_left_over([entry.group], version=9)
    assert (tally.oldest_age_versions, tally.most_attempts) == (8, 5)
    assert not tally.groups_by_age


@given(st.dictionaries(st.integers(0, 20), st.integers(1, 50), min_size=1), st.sampled_from([0.5, 0.99, 1.0]))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(counts: dict[int, int], share: float) -> None:
    value = percentile(counts, share)
    total = sum(counts.values())
    below = sum(count for other, count in counts.items() if other < value)
    assert below + counts[value] >= share * total - 1e-6
    assert below < share * total


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_percentile_of_nothing_is_0(share: float) -> None:
    assert percentile({}, share) == 0
