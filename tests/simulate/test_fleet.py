"""Replicas together: who takes what, and what a failure costs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate_runs import POLICIES, WrittenTrace, scheduler, small_cluster

from pangu_verl.simulate.baselines import VerlDrop
from pangu_verl.simulate.cluster import Split
from pangu_verl.simulate.engine import Engine, Plan
from pangu_verl.simulate.fleet import Fleet
from pangu_verl.simulate.replicas import Request, Stage
from pangu_verl.simulate.traces import named_trace


def request(tokens: int) -> Request:
    return Request("p0", 0, 0, tokens, 0)


def fleet(num_replicas: int, slots_per_device: int = 2) -> Fleet:
    return Fleet(small_cluster(slots_per_device=slots_per_device), num_replicas)


def started(found: Fleet, *tokens: int) -> list[Request]:
    requests = [request(count) for count in tokens]
    for one in requests:
        found.start(one, 0.0)
    return requests


def places(requests: list[Request]) -> list[int]:
    return [one.replica.index for one in requests if one.replica is not None]


def test_trajectories_go_to_the_replica_with_the_fewest() -> None:
    found = fleet(3)
    assert places(started(found, 5, 5, 5, 5)) == [0, 1, 2, 0]
    assert (found.free_slots, found.running) == (2, 4)


def test_a_freed_slot_is_used_again() -> None:
    found = fleet(2, slots_per_device=1)
    started(found, 9, 4)
    assert found.next_end_s() == 4.0
    ended, _ = found.end(4.0)
    assert ended.tokens == 4
    follower = request(1)
    found.start(follower, 4.0)
    assert places([follower]) == [1]


def test_a_given_up_request_frees_its_slot_once_and_returns_what_was_made() -> None:
    found = fleet(1)
    [running] = started(found, 9)
    queued = request(9)
    assert found.abort(running, 3.0) == 3
    assert found.abort(queued, 3.0) == 0
    assert {running.stage, queued.stage} == {Stage.ABORTED}
    assert found.free_slots == 2
    assert found.next_end_s() == math.inf


def test_a_replica_that_is_down_has_no_slots_and_gets_nothing() -> None:
    found = fleet(2)
    lost = started(found, 5, 5)[:1]
    assert found.fail(0, 1.0) == lost
    found.abort(lost[0], 1.0)
    assert found.free_slots == 1
    follower = request(5)
    found.start(follower, 1.0)
    assert places([follower]) == [1]
    found.restart(0)
    assert found.free_slots == 2


def test_time_is_the_earliest_end_of_all() -> None:
    found = fleet(3)
    started(found, 7, 3, 5)
    ends = []
    while (end_s := found.next_end_s()) < math.inf:
        ends.append(end_s)
        found.end(end_s)
    assert ends == [3.0, 5.0, 7.0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["start", "end", "abort", "fail", "restart", "publish"]), st.integers(0, 9))))
def test_free_slots_are_those_of_the_replicas_that_are_up_whatever_happens(events: list[tuple[str, int]]) -> None:
    found = fleet(3)
    running: list[Request] = []
    now_s = 0.0
    for event, number in events:
        now_s = min(now_s + 1.0, found.next_end_s())
        replica = found.replicas[number % 3]
        if event == "start" and found.free_slots:
            running.append(request(number + 1))
            found.start(running[-1], now_s)
        elif event == "end" and found.next_end_s() < math.inf:
            now_s = found.next_end_s()
            running.remove(found.end(now_s)[0])
        elif event == "abort" and running:
            found.abort(running.pop(number % len(running)), now_s)
        elif event == "fail" and replica.is_up:
            for lost in found.fail(replica.index, now_s):
                found.abort(lost, now_s)
                running.remove(lost)
        elif event == "restart" and not replica.is_up:
            found.restart(replica.index)
        elif event == "publish":
            found.publish(now_s)
        up = [one for one in found.replicas if one.is_up]
        assert found.free_slots == 2 * len(up) - len(running)
        assert found.running == len(running)
        assert all(0 <= one.running <= 2 for one in found.replicas)


def test_a_failure_costs_what_ran_and_the_groups_start_again_with_their_age() -> None:
    trace = WrittenTrace([[40, 40]])
    cluster = small_cluster(mean_time_between_failures_s=60.0, restart_s=7.0)
    plan = Plan(trace=trace, cluster=cluster, split=Split(4, 4), steps=30, seed=1)
    tally = Engine(plan, scheduler("wait", batch_groups=2, bound_versions=1)).run()
    assert tally.num_restarted_groups > 0 and tally.wasted_tokens > 0
    assert tally.num_dropped_groups == 0 and tally.num_violations == 0
    assert tally.most_attempts > 1


@pytest.mark.parametrize("policy", [*sorted(POLICIES), "verl_drop"])
def test_every_policy_lives_through_a_storm_of_failures(policy: str) -> None:
    cluster = small_cluster(devices=24, mean_time_between_failures_s=20_000.0, restart_s=2_000.0, publication_s=10.0)
    trace = named_trace("mid", seed=0, num_prompts=100, trajectories=4)
    plan = Plan(trace=trace, cluster=cluster, split=Split(16, 8), steps=25, seed=3)
    ours = policy in POLICIES
    tally = Engine(plan, scheduler(policy, batch_groups=4, bound_versions=2) if ours else VerlDrop(4, 2, 2)).run()
    assert tally.groups_by_age.total() == 100
    assert tally.num_restarted_groups > 20
    assert tally.num_violations == 0
