"""Shares of time: the sweep against a count by small pieces, and the clock that is told as it happens against both."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.scheduler.idle import Intervals, ReplicaClock, ReplicaReading, replica_shares, trainer_shares

WIDTH = 40
#: Whole seconds, so that a count second by second is exact.
spans = st.lists(st.tuples(st.integers(0, WIDTH), st.integers(0, 12)), max_size=25)
edges = st.lists(st.integers(0, WIDTH + 10), min_size=2, max_size=6, unique=True).map(sorted)
EPOCH_S = 1_700_000_000.0


def intervals(found: list[tuple[int, int]], epoch_s: float = 0.0) -> Intervals:
    began_s = np.array([began for began, _ in found], dtype=np.float64) + epoch_s
    return Intervals(began_s, began_s + np.array([length for _, length in found], dtype=np.float64))


def counts(found: list[tuple[int, int]]) -> np.ndarray:
    """How many there were in each second."""
    running = np.zeros(2 * WIDTH)
    for began, length in found:
        running[began : began + length] += 1
    return running


@given(found=spans, edges=edges)
def test_seconds_are_those_of_a_count_second_by_second(found: list[tuple[int, int]], edges: list[int]) -> None:
    expected = [counts(found)[start:end].sum() for start, end in itertools.pairwise(edges)]
    shifted = np.array(edges) + EPOCH_S
    np.testing.assert_allclose(intervals(found, EPOCH_S).seconds_between(shifted), expected, atol=1e-6)


@given(found=spans, published=spans, edges=edges, slots=st.integers(1, 8))
def test_shares_of_a_replica_are_those_of_a_count(
    found: list[tuple[int, int]], published: list[tuple[int, int]], edges: list[int], slots: int
) -> None:
    shares = replica_shares(edges, intervals(found), intervals(published), slots)
    runs, publishes = counts(found) > 0, counts(published) > 0
    for place, (start, end) in enumerate(itertools.pairwise(edges)):
        window = slice(start, end)
        assert shares.running[place] == pytest.approx(runs[window].mean())
        assert shares.publication[place] == pytest.approx((publishes & ~runs)[window].mean())
        assert shares.idle[place] == pytest.approx((~publishes & ~runs)[window].mean())
        assert shares.occupied[place] == pytest.approx(counts(found)[window].mean() / slots)


@given(found=spans, published=spans, edges=edges)
def test_shares_of_the_trainer_sum_to_one(
    found: list[tuple[int, int]], published: list[tuple[int, int]], edges: list[int]
) -> None:
    shares = trainer_shares(edges, intervals(found), intervals(published))
    np.testing.assert_allclose(shares.computing + shares.publication + shares.idle, 1.0, atol=1e-9)


def test_a_window_without_time_has_no_shares() -> None:
    shares = replica_shares([1.0, 1.0, 2.0], intervals([(0, 5)]), intervals([]), 2)
    assert np.isnan(shares.idle[0]) and np.isnan(shares.occupied[0])
    assert shares.running[1] == 1.0


def test_without_anything_all_is_idle() -> None:
    nothing = intervals([])
    assert replica_shares([0.0, 1.0], nothing, nothing, 4).idle.tolist() == [1.0]
    assert trainer_shares([0.0, 1.0], nothing, nothing).idle.tolist() == [1.0]


def test_slots_may_differ_by_window() -> None:
    shares = replica_shares([0, 1, 2], intervals([(0, 2), (0, 2)]), intervals([]), [2, 4])
    assert shares.occupied.tolist() == [1.0, 0.5]


@given(found=spans, edges=edges, seed=st.integers(0, 999))
def test_the_clock_agrees_with_the_sweep_in_whatever_order_it_is_told(
    found: list[tuple[int, int]], edges: list[int], seed: int
) -> None:
    clock = ReplicaClock(slots_per_replica=3, from_s=0.0)
    events = [("began", began) for began, _ in found] + [("ended", began + length) for began, length in found]
    whole = replica_shares([0, *edges], intervals(found), intervals([]), 3)
    told = -1
    for place, read_s in enumerate(edges):
        due = [event for event in events if told < event[1] <= read_s]
        told = read_s
        random.Random(seed).shuffle(due)
        for kind, at_s in due:
            getattr(clock, kind)("a", at_s)
        if read_s > 0:
            reading = clock.read(read_s, ["a"])["a"]
            assert reading.idle_share == pytest.approx(whole.publication[place] + whole.idle[place])
            assert reading.occupied_share == pytest.approx(whole.occupied[place])


def test_what_is_told_too_late_counts_from_the_last_reading_on() -> None:
    clock = ReplicaClock(slots_per_replica=2, from_s=0.0)
    clock.ended("a", 9.0)
    assert clock.read(10.0)["a"].idle_share == 1.0
    clock.began("a", 3.0)
    clock.began("a", 5.0)
    assert clock.read(20.0)["a"] == ReplicaReading(idle_share=0.0, occupied_share=0.5)


def test_what_lies_ahead_is_kept_for_its_own_reading() -> None:
    clock = ReplicaClock(slots_per_replica=1, from_s=0.0)
    clock.began("a", 15.0)
    assert clock.read(10.0)["a"] == ReplicaReading(idle_share=1.0, occupied_share=0.0)
    assert clock.read(20.0)["a"] == ReplicaReading(idle_share=0.5, occupied_share=0.5)


def test_each_replica_has_a_reading_of_its_own() -> None:
    clock = ReplicaClock(slots_per_replica=1, from_s=0.0)
    clock.began("a", 0.0)
    clock.began("b", 5.0)
    assert {name: reading.idle_share for name, reading in clock.read(10.0).items()} == {"a": 0.0, "b": 0.5}


def test_a_replica_without_a_request_was_idle_and_a_lost_one_is_forgotten() -> None:
    clock = ReplicaClock(slots_per_replica=1, from_s=0.0)
    clock.began("lost", 1.0)
    assert clock.read(10.0, ["new"]) == {"new": ReplicaReading(idle_share=1.0, occupied_share=0.0)}
    assert clock.read(20.0).keys() == {"new"}


@pytest.mark.parametrize("again_s", [10.0, 9.0])
def test_a_reading_at_once_says_and_forgets_nothing(again_s: float) -> None:
    clock = ReplicaClock(slots_per_replica=1, from_s=0.0)
    clock.began("a", 0.0)
    clock.read(10.0)
    clock.ended("a", 15.0)
    assert clock.read(again_s) == {}
    assert clock.read(20.0)["a"].idle_share == 0.5
