"""Settings that exist can be run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pangu_verl.errors import WrongUse
from pangu_verl.scheduler.policies import Wait
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings

SOUND = SchedulerSettings(batch_groups=4, bound_versions=2)


@pytest.mark.parametrize("name", ["batch_groups", "steps_per_version", "lookahead_groups", "overtaking_groups"])
def test_counts_below_1_are_refused(name: str) -> None:
    counts: dict[str, Any] = {name: 0}
    with pytest.raises(WrongUse, match=f"{name} is at least 1, not 0"):
        replace(SOUND, **counts)


def test_a_bound_below_0_is_refused() -> None:
    with pytest.raises(WrongUse, match="'bound_versions' is 0 or more versions, not -1"):
        replace(SOUND, bound_versions=-1)


def test_a_task_bound_below_0_is_refused_by_its_name() -> None:
    with pytest.raises(WrongUse, match="'code' is 0 or more versions, not -2"):
        replace(SOUND, task_bounds={"code": -2})


def test_a_task_of_the_name_of_the_bound_does_not_hide_it() -> None:
    with pytest.raises(WrongUse, match="0 or more versions, not -1"):
        replace(SOUND, bound_versions=-1, task_bounds={"bound_versions": 1})


def test_a_window_that_can_never_fill_a_batch_is_refused() -> None:
    with pytest.raises(WrongUse, match="window_groups=3 can never fill a batch of 4"):
        replace(SOUND, window_groups=3)


@pytest.mark.parametrize("share", [-1.0, float("nan"), float("inf")])
def test_a_target_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(WrongUse, match="task_shares"):
        replace(SOUND, task_shares={"code": share})


@pytest.mark.parametrize("lease_s", [0.0, -1.0, float("nan")])
def test_a_lease_that_has_ended_is_refused(lease_s: float) -> None:
    with pytest.raises(WrongUse, match="lease_s"):
        replace(SOUND, lease_s=lease_s)


def test_a_task_without_a_bound_of_its_own_has_the_common_one() -> None:
    settings = replace(SOUND, task_bounds={"code": 0})
    assert (settings.bound_of("code"), settings.bound_of("maths")) == (0, 2)


def test_the_largest_window_is_that_of_the_loosest_task() -> None:
    assert SOUND.largest_window_groups == (2 + 1) * 4
    assert replace(SOUND, task_bounds={"code": 4}, steps_per_version=2).largest_window_groups == (4 + 1) * 8
    assert replace(SOUND, task_bounds={"code": 0}).largest_window_groups == (2 + 1) * 4


@pytest.mark.parametrize(("bound", "window"), [(-1, None), (1, 3)])
def test_an_adjustment_that_cannot_run_is_refused_and_changes_nothing(bound: int, window: int | None) -> None:
    scheduler = Scheduler(SOUND, Wait())
    with pytest.raises(WrongUse):
        scheduler.adjust(bound, window)
    assert scheduler.settings == SOUND


def test_a_wave_of_less_than_a_batch_is_refused() -> None:
    with pytest.raises(WrongUse, match="wave_groups=3 is less than a batch of 4 groups"):
        replace(SOUND, wave_groups=3)
