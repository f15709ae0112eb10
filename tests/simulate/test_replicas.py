"""Replicas as shared processors: when trajectories end, and which version made which token."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.queue.entries import Segment
from pangu_verl.simulate.replicas import Replica, Request


def request(tokens: int, prompt_tokens: int = 0) -> Request:
    return Request("p0", 0, 0, tokens, prompt_tokens)


def replica(*rates: float, prefill_tokens_per_s: float | None = None) -> Replica:
    """``rates`` by the number that runs, from 1."""
    return Replica(0, [rates[0], *rates], prefill_tokens_per_s)


def test_a_trajectory_alone_takes_its_tokens_over_the_rate() -> None:
    one = replica(2.0)
    one.start(request(10), 1.0)
    assert one.next_end_s() == 6.0
    assert one.end(6.0)[1] == (Segment(0, 10),)
    assert one.next_end_s() == math.inf


def test_trajectories_share_a_replica_by_how_many_run() -> None:
    shared = replica(2.0, 1.0)
    shared.start(request(10), 0.0)
    shared.start(request(3), 2.0)
    assert shared.next_end_s() == 5.0
    assert shared.end(5.0)[0].tokens == 3
    assert shared.next_end_s() == 6.5
    assert shared.busy_slot_s == 2.0 + 2 * 3.0


def test_a_token_that_was_begun_when_weights_came_belongs_to_the_old_version() -> None:
    one = replica(1.0)
    one.start(request(10), 0.0)
    one.publish(2.5)
    one.publish(2.75)
    one.publish(7.0)
    assert one.end(10.0)[1] == (Segment(0, 3), Segment(2, 4), Segment(3, 3))


def test_a_trajectory_that_starts_as_weights_come_is_of_the_new_version() -> None:
    one = replica(1.0)
    one.publish(3.0)
    one.start(request(2), 3.0)
    assert one.end(5.0)[1] == (Segment(1, 2),)


def test_a_pause_delays_what_runs() -> None:
    one = replica(1.0)
    one.start(request(4), 0.0)
    one.pause(5.0, 1.0)
    assert one.next_end_s() == 8.0
    assert one.end(8.0)[1] == (Segment(0, 4),)
    assert one.busy_slot_s == 4.0


def test_the_prefill_of_a_prompt_delays_everything_on_the_replica() -> None:
    shared = replica(1.0, 1.0, prefill_tokens_per_s=10.0)
    shared.start(request(4, prompt_tokens=20), 0.0)
    shared.start(request(4, prompt_tokens=10), 1.0)
    assert shared.next_end_s() == 7.0


def test_contexts_are_rebuilt_when_weights_come() -> None:
    one = replica(1.0, prefill_tokens_per_s=10.0)
    one.start(request(20, prompt_tokens=10), 0.0)
    one.publish(11.0)
    assert one.next_end_s() == 21.0 + (10 + 10) / 10.0


def test_contexts_of_given_up_trajectories_are_not_rebuilt() -> None:
    shared = replica(1.0, 1.0, prefill_tokens_per_s=10.0)
    given_up = request(30)
    shared.start(given_up, 0.0)
    shared.start(request(20), 0.0)
    assert shared.abort(given_up, 10.0) == 10
    shared.publish(10.0)
    assert shared.next_end_s() == 20.0 + 1.0


def test_a_given_up_trajectory_frees_its_share_and_never_ends() -> None:
    shared = replica(2.0, 1.0)
    first, second = request(4), request(10)
    shared.start(first, 0.0)
    shared.start(second, 0.0)
    assert shared.abort(first, 2.0) == 2
    assert shared.next_end_s() == 6.0
    assert shared.end(6.0)[0] is second
    assert shared.next_end_s() == math.inf


def test_a_failing_replica_names_what_it_was_running() -> None:
    shared = replica(1.0, 1.0)
    lost, given_up = request(5), request(5)
    shared.start(lost, 0.0)
    shared.start(given_up, 0.0)
    shared.abort(given_up, 1.0)
    assert shared.fail(2.0) == [lost]
    assert not shared.is_up


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=5),
    st.lists(st.floats(0, 60), max_size=6),
    st.lists(st.floats(0.1, 10), min_size=5, max_size=5),
    st.sampled_from([None, 3.0]),
)
def test_whatever_happens_segments_hold_every_token_once_in_rising_versions(
    tokens: list[int], publications_s: list[float], rates: list[float], prefill_tokens_per_s: float | None
) -> None:
    shared = replica(*rates, prefill_tokens_per_s=prefill_tokens_per_s)
    for count in tokens:
        shared.start(request(count, prompt_tokens=2), 0.0)
    waiting = sorted(publications_s)
    now_s = 0.0
    num_ended = 0
    while (end_s := shared.next_end_s()) < math.inf:
        if waiting and waiting[0] <= end_s:
            shared.publish(max(now_s, waiting[0]))
            now_s = max(now_s, waiting.pop(0))
            continue
        assert end_s >= now_s
        now_s = end_s
        ended, segments = shared.end(now_s)
        num_ended += 1
        assert sum(segment.tokens for segment in segments) == ended.tokens
        assert all(segment.tokens > 0 for segment in segments)
        versions = [segment.version for segment in segments]
        assert versions == sorted(set(versions))
        assert versions[-1] <= len(publications_s) - len(waiting)
    assert num_ended == len(tokens)
    assert shared.running == 0
