"""What a scheduler promises, in closed form."""

from __future__ import annotations

from pangu_verl.scheduler.guarantees import Guarantees
from pangu_verl.scheduler.settings import SchedulerSettings


def test_the_largest_bound_of_any_task_is_promised() -> None:
    settings = SchedulerSettings(batch_groups=4, bound_versions=2, task_bounds={"maths": 5, "code": 0})
    assert Guarantees(settings).most_lag_versions == 5


def test_no_more_groups_start_than_the_bound_has_places_for() -> None:
    assert Guarantees(SchedulerSettings(batch_groups=4, bound_versions=2)).most_started_groups == 12
    assert (
        Guarantees(SchedulerSettings(batch_groups=4, bound_versions=2, steps_per_version=3)).most_started_groups == 36
    )
    assert Guarantees(SchedulerSettings(batch_groups=4, bound_versions=2, window_groups=9)).most_started_groups == 9


def test_a_ready_group_is_passed_over_for_a_bounded_number_of_steps() -> None:
    settings = SchedulerSettings(batch_groups=4, bound_versions=2, overtaking_groups=1)
    assert Guarantees(settings).most_passed_over_steps == (11 + 1 - 1) // 4


def test_a_step_that_waits_takes_its_share_of_the_longest_trajectory() -> None:
    assert Guarantees(SchedulerSettings(batch_groups=4, bound_versions=3)).least_wait_step_s(18.0, 2.0) == 5.0
