"""The policy version grows by one, and tokens come from versions that its rollout can have held."""

from __future__ import annotations

import pytest
from scheduler_made import prompt, trajectory

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import Group, State
from pangu_verl.scheduler.clock import VersionClock


def test_each_publication_counts_one() -> None:
    clock = VersionClock()
    assert [clock.publish(), clock.publish(), clock.version] == [1, 2, 2]


def test_a_resumed_clock_goes_on_where_it_was() -> None:
    assert VersionClock(7).publish() == 8


def test_there_is_no_version_before_the_first() -> None:
    with pytest.raises(ValueError, match="0 or more, not -1"):
        VersionClock(-1)


def started_at(version: int) -> Group:
    return Group(prompt=prompt("p0"), order=0, admitted_version=0, state=State.RUNNING, started_version=version)


@pytest.mark.parametrize("versions", [(1,), (3,), (1, 2, 3), (2, 2)])
def test_versions_that_grow_from_the_groups_start_are_believed(versions: tuple[int, ...]) -> None:
    VersionClock(3).check(trajectory(*((version, 5) for version in versions)), started_at(1))


@pytest.mark.parametrize("version", [-1, 0, 4])
def test_tokens_of_the_future_or_older_than_the_group_are_refused(version: int) -> None:
    with pytest.raises(RunFailed, match=rf"'p0' came back with 5 tokens of policy version {version} .* 1 to 3"):
        VersionClock(3).check(trajectory((version, 5)), started_at(1))


def test_a_version_that_goes_back_is_refused() -> None:
    with pytest.raises(RunFailed, match="policy version 2 where versions 3 to 3 can follow"):
        VersionClock(3).check(trajectory((3, 5), (2, 5)), started_at(1))


def test_tokens_below_0_are_refused() -> None:
    with pytest.raises(RunFailed, match="-5 tokens"):
        VersionClock(3).check(trajectory((3, -5)), started_at(1))
