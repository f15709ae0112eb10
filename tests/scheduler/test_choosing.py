"""What the priority prefers, and what the deadlines leave of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduler_made import by_score, finish, keys_of, prompt, prompts, running, trajectory, youngest_first

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import Group
from pangu_verl.queue.priority import Priority
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.choosing import by_preference
from pangu_verl.scheduler.policies import Drop, Mask, Wait
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import StalenessPolicy

NOTHING_TAKEN: Mapping[str, float] = {}


def preferred(orders: list[int], priority: Priority, window_groups: int | None = None) -> list[int]:
    settings = SchedulerSettings(batch_groups=3, bound_versions=1, overtaking_groups=window_groups)
    groups = [Group(prompt=prompt(f"p{order}"), order=order, admitted_version=0) for order in orders]
    chosen = by_preference(groups, priority, settings, point="dispatch", version=0, taken_groups=NOTHING_TAKEN)
    return [group.order for group in chosen]


def taken(batch: Batch | None) -> list[str]:
    assert batch is not None
    return keys_of([entry.group for entry in batch.groups])


def test_without_weights_first_come_is_first_served() -> None:
    assert preferred([2, 5, 9], Priority((), {})) == [2, 5, 9]


def test_the_window_is_one_batch_where_nothing_is_said() -> None:
    assert preferred([0, 1, 2, 3, 4], youngest_first()) == [2, 1, 0, 3, 4]


def test_the_window_is_of_orders_and_not_of_places() -> None:
    assert preferred([0, 2, 7, 8], youngest_first(), window_groups=3) == [2, 0, 7, 8]


def test_a_window_of_one_is_first_come_first_served() -> None:
    assert preferred([3, 4, 5], youngest_first(), window_groups=1) == [3, 4, 5]


@given(st.lists(st.integers(0, 40), unique=True, max_size=12).map(sorted), st.integers(1, 9))
def test_every_group_is_preferred_once(orders: list[int], window_groups: int) -> None:
    assert sorted(preferred(orders, youngest_first(), window_groups)) == orders


def test_the_priority_chooses_what_is_trained_on() -> None:
    settings = SchedulerSettings(batch_groups=1, bound_versions=3, overtaking_groups=3)
    scheduler = Scheduler(settings, Wait(), by_score(lambda order, task: float(order == 2)))
    scheduler.admit(prompts(3))
    scheduler.dispatch(3)
    finish(scheduler)
    assert taken(scheduler.take()) == ["p2"]


def test_a_deadline_comes_before_the_priority() -> None:
    settings = SchedulerSettings(batch_groups=1, bound_versions=1, overtaking_groups=9)
    scheduler = Scheduler(settings, Wait(), youngest_first())
    scheduler.admit(prompts(2))
    scheduler.dispatch(2)
    finish(scheduler)
    assert taken(scheduler.take()) == ["p1"]
    scheduler.publish()
    scheduler.admit(prompts(1, first=2))
    scheduler.dispatch(1)
    finish(scheduler)
    assert taken(scheduler.take()) == ["p0"]
    scheduler.publish()
    assert taken(scheduler.take()) == ["p2"]


def test_wait_takes_nothing_that_would_leave_a_straggler_over_its_bound() -> None:
    scheduler = Scheduler(SchedulerSettings(batch_groups=1, bound_versions=1), Wait())
    scheduler.admit(prompts(4))
    scheduler.dispatch(2)
    finish(scheduler, "p0")
    assert taken(scheduler.take()) == ["p0"]
    scheduler.publish()
    scheduler.dispatch(1)
    finish(scheduler, "p2")
    assert scheduler.take() is None
    finish(scheduler, "p1")
    assert taken(scheduler.take()) == ["p1"]


def test_wait_lets_a_step_pass_while_a_later_one_of_the_version_has_place() -> None:
    scheduler = Scheduler(SchedulerSettings(batch_groups=1, bound_versions=0, steps_per_version=2), Wait())
    scheduler.admit(prompts(2))
    scheduler.dispatch(2)
    finish(scheduler, "p1")
    assert taken(scheduler.take()) == ["p1"]
    assert scheduler.take() is None
    finish(scheduler, "p0")
    assert taken(scheduler.take()) == ["p0"]


def test_a_lost_server_frees_a_step_that_waits() -> None:
    scheduler = Scheduler(SchedulerSettings(batch_groups=1, bound_versions=0, steps_per_version=2), Wait())
    scheduler.admit(prompts(3))
    scheduler.dispatch(2)
    finish(scheduler, "p1")
    assert taken(scheduler.take()) == ["p1"]
    assert scheduler.take() is None
    assert keys_of(scheduler.restart(["p0"])) == ["p0"]
    assert keys_of(scheduler.dispatch(1)) == ["p0"]
    finish(scheduler, "p0")
    assert taken(scheduler.take()) == ["p0"]


@pytest.mark.parametrize("policy", [Wait(), Drop(), Mask()])
def test_bound_0_trains_on_what_this_version_made(policy: StalenessPolicy) -> None:
    scheduler = Scheduler(SchedulerSettings(batch_groups=2, bound_versions=0), policy)
    scheduler.admit(prompts(6))
    for first in (0, 2, 4):
        assert keys_of(scheduler.dispatch(9)) == [f"p{first}", f"p{first + 1}"]
        finish(scheduler)
        assert taken(scheduler.take()) == [f"p{first}", f"p{first + 1}"]
        if not policy.masks_tokens:
            assert scheduler.dispatch(9) == []
        scheduler.publish()


def test_a_group_that_is_waited_for_goes_before_older_ones_that_may_be_dropped() -> None:
    """All four have the deadline 2 and two places are left: the two that may not be given up again take them."""
    scheduler = Scheduler(SchedulerSettings(batch_groups=2, bound_versions=2), Drop(most_evictions=1))
    scheduler.admit(prompts(8))
    scheduler.dispatch(6)
    for key in ("p4", "p5"):
        scheduler.live[key].evictions = 1
    scheduler.restart(["p4", "p5"])
    scheduler.dispatch(2)
    finish(scheduler, "p0", "p1")
    assert taken(scheduler.take()) == ["p0", "p1"]
    scheduler.publish()
    scheduler.dispatch(2)
    finish(scheduler, "p6", "p7")
    assert taken(scheduler.take()) == ["p6", "p7"]
    scheduler.publish()
    finish(scheduler)
    assert scheduler.evict() == []
    assert taken(scheduler.take()) == ["p4", "p5"]
    assert keys_of(scheduler.evict()) == ["p2", "p3"]


@pytest.mark.parametrize("tight_bound", [0, 1, 2])
def test_a_tight_task_gets_its_turn_among_looser_ones(tight_bound: int) -> None:
    settings = SchedulerSettings(
        batch_groups=2, bound_versions=3, task_bounds={"code": tight_bound}, lookahead_groups=20
    )
    scheduler = Scheduler(settings, Wait())
    scheduler.admit(prompts(8))
    scheduler.dispatch(8)
    scheduler.admit([prompt("tight", "code")])
    for step in range(8):
        scheduler.admit(prompts(scheduler.capacity(), first=100 * (step + 1)))
        scheduler.dispatch(100)
        finish(scheduler)
        assert scheduler.take() is not None
        scheduler.publish()
    assert "tight" not in scheduler.live


@pytest.mark.parametrize("policy", [Wait(), Drop(most_evictions=0), Drop(), Mask()])
def test_a_publication_without_a_step_does_not_stop_the_run(policy: StalenessPolicy) -> None:
    """It may be refused; where it is not, what it made too old for a step is generated anew."""
    scheduler = Scheduler(SchedulerSettings(batch_groups=1, bound_versions=0), policy)
    scheduler.admit(prompts(2))
    scheduler.dispatch(9)
    with contextlib.suppress(RunFailed):
        scheduler.publish()
    finish(scheduler)
    scheduler.evict()
    scheduler.dispatch(9)
    finish(scheduler)
    assert scheduler.take() is not None


def test_drop_without_evict_refuses_to_train_over_the_bound_and_goes_on_after_it() -> None:
    scheduler = Scheduler(SchedulerSettings(batch_groups=1, bound_versions=0, steps_per_version=2), Drop())
    scheduler.admit(prompts(3))
    scheduler.dispatch(2)
    scheduler.publish()
    scheduler.complete("p0", 0, trajectory((0, 5)), 0)
    with pytest.raises(RunFailed, match=r"over the bound of 0 \(group 'p0', trajectory 0\).*call evict\(\)"):
        scheduler.take()
    assert keys_of(scheduler.evict()) == ["p0", "p1"]
    assert keys_of(scheduler.dispatch(9)) == ["p0", "p1"]
    finish(scheduler)
    assert taken(scheduler.take()) == ["p0"]
    assert running(scheduler) == []
