"""What each verb refuses, ignores and counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scheduler_made import finish, keys_of, prompt, prompts, trajectory, youngest_first

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.entries import State, Trajectory
from pangu_verl.queue.priority import Priority
from pangu_verl.queue.terms.built_in import built_in_terms
from pangu_verl.scheduler.policies import Drop, Mask, Wait
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings

SETTINGS = SchedulerSettings(batch_groups=2, bound_versions=1)
FRESH = trajectory((0, 5))


def started(num_groups: int = 2, trajectories: int = 1) -> Scheduler:
    scheduler = Scheduler(SETTINGS, Wait())
    scheduler.admit(prompts(num_groups, trajectories=trajectories))
    scheduler.dispatch(num_groups)
    return scheduler


def test_a_key_that_is_live_is_refused_and_none_of_its_batch_is_admitted() -> None:
    scheduler = started()
    with pytest.raises(WrongUse, match="'p1' came again"):
        scheduler.admit([prompt("p9"), prompt("p1")])
    assert list(scheduler.live) == ["p0", "p1"]


def test_a_key_twice_at_once_is_refused() -> None:
    with pytest.raises(WrongUse, match="'p9' came again"):
        Scheduler(SETTINGS, Wait()).admit([prompt("p9"), prompt("p9")])


def test_a_refused_admission_leaves_no_gap_in_the_orders() -> None:
    scheduler = started()
    with pytest.raises(WrongUse):
        scheduler.admit(prompts(3))
    assert [group.order for group in scheduler.admit([prompt("p9")])] == [2]


def test_a_group_without_trajectories_is_refused() -> None:
    with pytest.raises(WrongUse, match="trajector"):
        Scheduler(SETTINGS, Wait()).admit([prompt("p0", trajectories=0)])


def test_capacity_counts_what_waits() -> None:
    scheduler = Scheduler(SETTINGS, Wait())
    scheduler.admit(prompts(1))
    assert scheduler.capacity() == 1
    scheduler.admit(prompts(3, first=1))
    assert scheduler.capacity() == 0
    scheduler.dispatch(4)
    assert scheduler.capacity() == 2


def test_a_wave_is_admitted_whole_once_less_than_a_batch_waits() -> None:
    scheduler = Scheduler(replace(SETTINGS, wave_groups=4), Wait())
    assert scheduler.capacity() == 4
    scheduler.admit(prompts(4))
    scheduler.dispatch(2)
    assert scheduler.capacity() == 0
    scheduler.dispatch(1)
    assert scheduler.capacity() == 4


def test_waves_of_expected_length_rise_and_fall_in_turn() -> None:
    scheduler = Scheduler(replace(SETTINGS, wave_groups=2), Wait())
    first = scheduler.admit([prompt("long", expected_tokens=9.0), prompt("short", expected_tokens=1.0)])
    second = scheduler.admit([prompt("brief", expected_tokens=2.0), prompt("slow", expected_tokens=8.0)])
    assert keys_of([*first, *second]) == ["short", "long", "slow", "brief"]
    assert [group.order for group in [*first, *second]] == [0, 1, 2, 3]


@pytest.mark.parametrize("limit_groups", [0, -3])
def test_a_limit_of_nothing_starts_nothing(limit_groups: int) -> None:
    scheduler = Scheduler(SETTINGS, Wait())
    scheduler.admit(prompts(2))
    assert scheduler.dispatch(limit_groups) == []


def test_no_more_is_started_than_can_be_trained_on_in_time() -> None:
    scheduler = Scheduler(SETTINGS, Wait())
    scheduler.admit(prompts(9))
    assert len(scheduler.dispatch(9)) == (1 + 1) * 2


def test_a_window_limits_what_runs_and_is_ready() -> None:
    scheduler = Scheduler(SchedulerSettings(batch_groups=2, bound_versions=1, window_groups=3), Wait())
    scheduler.admit(prompts(9))
    assert len(scheduler.dispatch(9)) == 3
    finish(scheduler, "p0")
    assert scheduler.dispatch(9) == []


def test_an_answer_for_an_unknown_key_is_refused() -> None:
    with pytest.raises(RunFailed, match="'p7' is no live group"):
        started().complete("p7", 0, FRESH, 0)


@pytest.mark.parametrize("member", [-1, 2])
def test_an_answer_for_a_member_that_is_not_there_is_refused(member: int) -> None:
    with pytest.raises(RunFailed, match=f"trajectories 0 to 1, but {member} came back"):
        started(trajectories=2).complete("p0", member, FRESH, 0)


@pytest.mark.parametrize("made", [trajectory((1, 5)), trajectory((-1, 5)), trajectory((0, -5))])
def test_an_answer_that_no_rollout_can_have_made_is_refused(made: Trajectory) -> None:
    scheduler = started()
    with pytest.raises(RunFailed, match="'p0' came back with"):
        scheduler.complete("p0", 0, made, 0)
    assert scheduler.live["p0"].finished == {}


def test_an_answer_older_than_its_groups_start_is_refused() -> None:
    scheduler = Scheduler(SETTINGS, Mask())
    scheduler.publish()
    scheduler.admit(prompts(1))
    scheduler.dispatch(1)
    with pytest.raises(RunFailed, match="policy version 0"):
        scheduler.complete("p0", 0, FRESH, 0)


def test_a_second_answer_is_counted_and_changes_nothing() -> None:
    scheduler = started(trajectories=2)
    assert scheduler.complete("p0", 0, FRESH, 0)
    assert not scheduler.complete("p0", 0, trajectory((0, 99)), 0)
    assert scheduler.live["p0"].finished == {0: FRESH}
    assert scheduler.counts["duplicate_answers"] == 1


def test_an_answer_of_a_given_up_attempt_is_counted_and_changes_nothing() -> None:
    scheduler = started()
    scheduler.restart(["p0"])
    assert not scheduler.complete("p0", 0, FRESH, 0)
    scheduler.dispatch(1)
    assert not scheduler.complete("p0", 0, FRESH, 0)
    assert scheduler.live["p0"].finished == {}
    assert scheduler.counts["answers_of_given_up_attempts"] == 2


def test_a_late_answer_of_a_group_that_was_trained_on_is_ignored() -> None:
    """Its first attempt was lost with a server, which comes back to life after the second was consumed."""
    scheduler = started()
    scheduler.restart(["p0"])
    scheduler.dispatch(1)
    finish(scheduler)
    assert scheduler.take() is not None
    assert not scheduler.complete("p0", 0, FRESH, 0)


def test_a_group_is_ready_with_its_last_trajectory() -> None:
    scheduler = started(trajectories=2)
    scheduler.complete("p0", 1, FRESH, 0)
    assert scheduler.num_groups(State.READY) == 0
    scheduler.complete("p0", 0, FRESH, 0)
    assert scheduler.num_groups(State.READY) == 1


def test_a_lost_group_keeps_its_place_and_loses_its_work() -> None:
    scheduler = started(3, trajectories=2)
    scheduler.complete("p1", 0, FRESH, 0)
    [group] = scheduler.restart(["p1", "p1"])
    assert (group.order, group.attempt, group.state, group.finished) == (1, 1, State.WAITING, {})
    scheduler.admit(prompts(1, first=7))
    assert keys_of(scheduler.dispatch(1)) == ["p1"]


def test_an_unknown_key_among_the_lost_is_refused_and_none_is_restarted() -> None:
    scheduler = started()
    with pytest.raises(RunFailed, match="'p7' is no live group"):
        scheduler.restart(["p0", "p7"])
    assert scheduler.live["p0"].attempt == 0


def test_a_waiting_group_has_nothing_to_restart() -> None:
    scheduler = Scheduler(SETTINGS, Wait())
    scheduler.admit(prompts(1))
    assert scheduler.restart(["p0"]) == []
    assert scheduler.live["p0"].attempt == 0


@pytest.mark.parametrize("num_finished", [0, 1])
def test_an_abandoned_group_gives_its_credit_back(num_finished: int) -> None:
    scheduler = started(4)
    finish(scheduler, *["p0"][:num_finished])
    scheduler.admit(prompts(1, first=7))
    assert scheduler.dispatch(1) == []
    assert scheduler.abandon("p0", "its prompt failed every time").state is State.ABANDONED
    assert keys_of(scheduler.dispatch(1)) == ["p7"]
    with pytest.raises(RunFailed, match="'p0' is no live group"):
        scheduler.abandon("p0", "again")


def test_a_step_is_not_taken_beyond_its_version() -> None:
    scheduler = started(4)
    finish(scheduler)
    assert scheduler.take() is not None
    assert scheduler.take() is None
    scheduler.publish()
    assert scheduler.take() is not None


def test_a_group_is_evicted_at_most_as_often_as_the_policy_says() -> None:
    scheduler = Scheduler(SchedulerSettings(batch_groups=1, bound_versions=0, window_groups=9), Drop(most_evictions=1))
    scheduler.admit(prompts(1))
    scheduler.dispatch(1)
    scheduler.publish()
    assert keys_of(scheduler.evict()) == ["p0"]
    scheduler.dispatch(1)
    finish(scheduler)
    assert scheduler.evict() == []
    assert scheduler.take() is not None


def test_a_smaller_bound_is_held_against_what_is_ready_already() -> None:
    scheduler = Scheduler(SchedulerSettings(batch_groups=1, bound_versions=3), Mask(least_fresh_share=0.5))
    scheduler.admit(prompts(1))
    scheduler.dispatch(1)
    scheduler.publish()
    scheduler.complete("p0", 0, FRESH, 0)
    assert scheduler.evict() == []
    scheduler.adjust(0, None)
    assert keys_of(scheduler.evict()) == ["p0"]


def test_a_started_group_keeps_its_deadline_when_the_bound_shrinks() -> None:
    scheduler = started(4)
    scheduler.adjust(0, None)
    finish(scheduler)
    assert scheduler.take() is not None
    scheduler.publish()
    batch = scheduler.take()
    assert batch is not None
    assert [entry.bound_versions for entry in batch.groups] == [1, 1]


def test_what_is_started_after_the_bound_shrank_has_the_smaller_one() -> None:
    scheduler = started(2)
    scheduler.adjust(0, None)
    scheduler.admit(prompts(4, first=7))
    assert scheduler.dispatch(4) == []
    finish(scheduler)
    assert scheduler.take() is not None
    scheduler.publish()
    assert len(scheduler.dispatch(4)) == 2


def test_an_abandoned_group_is_not_held_against_its_task() -> None:
    """With equal target shares the task that lost its only group to a fault is behind again."""
    settings = SchedulerSettings(
        batch_groups=1, bound_versions=9, overtaking_groups=9, task_shares={"maths": 1.0, "code": 1.0}
    )
    [term] = [term for term in built_in_terms() if "share" in term.name]
    scheduler = Scheduler(settings, Wait(), Priority([term], {term.name: 1.0}))
    scheduler.admit([prompt("m0"), prompt("c0", "code"), prompt("c1", "code"), prompt("m1")])
    assert keys_of(scheduler.dispatch(1)) == ["m0"]
    assert keys_of(scheduler.dispatch(1)) == ["c0"]
    scheduler.abandon("m0", "its prompt failed every time")
    assert keys_of(scheduler.dispatch(1)) == ["m1"]


def test_a_priority_passes_an_older_group_by_less_than_the_window() -> None:
    settings = SchedulerSettings(batch_groups=1, bound_versions=9, overtaking_groups=3)
    scheduler = Scheduler(settings, Wait(), youngest_first())
    scheduler.admit(prompts(6))
    assert [keys_of(scheduler.dispatch(1))[0] for _ in range(6)] == ["p2", "p1", "p0", "p5", "p4", "p3"]


def test_a_group_that_finishes_below_the_floor_is_given_up_at_once() -> None:
    scheduler = Scheduler(SchedulerSettings(batch_groups=1, bound_versions=0), Mask(least_fresh_share=0.5))
    scheduler.admit(prompts(1))
    scheduler.dispatch(1)
    scheduler.publish()
    assert scheduler.evict() == []
    scheduler.complete("p0", 0, FRESH, 0)
    assert keys_of(scheduler.evict()) == ["p0"]
