"""A paced replica: its curve, its slots, its order, and what an interruption leaves."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pangu_verl_paced.replicas import Attempt, PacedReplica

from pangu_verl.simulate.replicas import Replica

RATES = [10.0, 10.0, 5.0, 5.0, 5.0]

Make = Callable[..., Attempt]


def test_a_request_alone_decodes_at_the_rate_of_one(replica: PacedReplica, attempt: Make) -> None:
    replica.submit(attempt(20), 0.0)
    assert replica.next_end_s() == pytest.approx(2.0)


def test_the_rate_changes_as_requests_come_and_go(replica: PacedReplica, attempt: Make) -> None:
    first, second = attempt(20), attempt(5)
    replica.submit(first, 0.0)
    replica.advance(1.0)
    replica.submit(second, 1.0)
    # 5 of the last 10 tokens beside the other, the rest alone.
    assert replica.advance(2.0) == [second]
    assert replica.next_end_s() == pytest.approx(2.5)


def test_what_has_no_slot_waits_by_priority_and_then_by_arrival(replica: PacedReplica, attempt: Make) -> None:
    running = [attempt(10), attempt(10)]
    late, early, urgent = attempt(1, 5), attempt(1, 5), attempt(1, 1)
    for each in (*running, early, late, urgent):
        replica.submit(each, 0.0)
    assert [each.version for each in (early, late, urgent)] == [None, None, None]
    assert replica.advance(100.0) == [*running, urgent, early, late]


def test_a_slot_is_filled_at_the_moment_it_falls_free_however_late_anybody_looks(
    replica: PacedReplica, attempt: Make
) -> None:
    for _ in range(4):
        replica.submit(attempt(10), 0.0)
    replica.advance(1_000.0)
    # Two after another on each slot, at 5 tokens/s all the time.
    assert replica.decoding.busy_slot_s == pytest.approx(2 * 4.0)


def test_an_interrupted_request_has_the_tokens_that_were_begun(replica: PacedReplica, attempt: Make) -> None:
    decoding, waiting = [attempt(20), attempt(20)], attempt(20)
    for each in (*decoding, waiting):
        replica.submit(each, 0.0)
    replica.advance(0.5)
    assert replica.pause(0.5) == [*decoding, waiting]
    assert [each.made_tokens for each in (*decoding, waiting)] == [3, 3, 0]
    assert not any(each.is_complete for each in decoding)


def test_nothing_begins_while_weights_are_on_their_way(replica: PacedReplica, attempt: Make) -> None:
    replica.pause(0.0)
    late = attempt(10)
    replica.submit(late, 1.0)
    assert replica.next_end_s() == math.inf
    replica.version = 3
    replica.resume(5.0)
    assert late.version == 3
    assert replica.next_end_s() == pytest.approx(6.0)


def test_an_attempt_belongs_to_the_version_at_which_it_began(replica: PacedReplica, attempt: Make) -> None:
    first = attempt(10)
    replica.submit(first, 0.0)
    replica.version = 1
    replica.advance(10.0)
    assert first.version == 0


@pytest.mark.parametrize("place", [0, 2], ids=["decoding", "waiting"])
def test_one_that_is_given_up_leaves_its_place_to_the_next(replica: PacedReplica, attempt: Make, place: int) -> None:
    attempts = [attempt(10) for _ in range(4)]
    for each in attempts:
        replica.submit(each, 0.0)
    replica.abort(attempts[place], 0.0)
    assert replica.num_requests == 3
    assert replica.advance(100.0) == [each for each in attempts if each is not attempts[place]]


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    looks_s=st.lists(st.floats(0.0, 60.0), max_size=8).map(sorted),
    interruptions_s=st.lists(st.floats(0.0, 60.0), max_size=3).map(sorted),
)
def test_every_request_makes_its_length_whenever_it_is_looked_at_or_interrupted(
    lengths: list[int], looks_s: list[float], interruptions_s: list[float]
) -> None:
    replica = PacedReplica(Replica(0, RATES, None), slots=2)
    left = [Attempt(str(place), 0, 0, tokens, 0) for place, tokens in enumerate(lengths)]
    made = dict.fromkeys(map(str, range(len(lengths))), 0)
    for each in left:
        replica.submit(each, 0.0)
    for now_s in sorted([*looks_s, *interruptions_s, math.inf]):
        now_s = 1e6 if now_s == math.inf else now_s
        ended = replica.advance(now_s)
        stopped = replica.pause(now_s) if now_s in interruptions_s else []
        for each in (*ended, *stopped):
            made[each.key] += each.made_tokens
        if stopped or replica.is_paused:
            replica.resume(now_s)
        for each in stopped:
            if not each.is_complete:
                replica.submit(Attempt(each.key, 0, 0, each.tokens - each.made_tokens, 0), now_s)
    assert list(made.values()) == lengths
    assert replica.num_requests == 0
