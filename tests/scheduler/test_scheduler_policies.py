"""What becomes of a group that grows too old, in closed form."""

from __future__ import annotations

import pytest
from scheduler_made import prompt, trajectory

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.entries import Group, State, Trajectory
from pangu_verl.scheduler.policies import Drop, Mask, Wait, fresh_share, fresh_tokens, gives_up, is_waited_for
from pangu_verl.types import StalenessPolicy


def group(*trajectories: Trajectory, state: State = State.READY, evictions: int = 0, started: int | None = 0) -> Group:
    made = Group(prompt=prompt("p0", trajectories=max(1, len(trajectories))), order=0, admitted_version=0)
    made.state, made.evictions, made.started_version = state, evictions, started
    made.finished = dict(enumerate(trajectories))
    return made


@pytest.mark.parametrize("policy", [Wait(), Drop(), Mask()])
def test_each_is_a_staleness_policy(policy: StalenessPolicy) -> None:
    assert isinstance(policy, StalenessPolicy)


def test_wait_gives_up_nothing_and_waits_for_everyone() -> None:
    assert not Wait().gives_up(group(), next_version=100, bound_versions=0)
    assert Wait().is_waited_for(group())


@pytest.mark.parametrize(("next_version", "is_given_up"), [(2, False), (3, False), (4, True)])
def test_drop_gives_up_what_no_step_can_take_in_time(next_version: int, is_given_up: bool) -> None:
    assert Drop().gives_up(group(started=1), next_version, bound_versions=2) is is_given_up


def test_drop_gives_up_running_groups_as_well() -> None:
    assert Drop().gives_up(group(state=State.RUNNING), next_version=3, bound_versions=2)


def test_drop_waits_for_a_group_that_it_gave_up_often_enough() -> None:
    policy = Drop(most_evictions=2)
    assert [policy.is_waited_for(group(evictions=evictions)) for evictions in (0, 1, 2, 3)] == [
        False,
        False,
        True,
        True,
    ]
    assert not policy.gives_up(group(evictions=2), next_version=100, bound_versions=0)


def test_drop_leaves_a_group_alone_that_was_not_started() -> None:
    assert not Drop().gives_up(group(state=State.WAITING, started=None), next_version=100, bound_versions=0)


@pytest.mark.parametrize(("floor", "is_given_up"), [(0.0, False), (0.3, False), (0.31, True), (1.0, True)])
def test_mask_gives_up_a_group_below_its_floor(floor: float, is_given_up: bool) -> None:
    policy = Mask(least_fresh_share=floor)
    assert policy.gives_up(group(trajectory((0, 7), (5, 3))), next_version=6, bound_versions=1) is is_given_up


def test_mask_never_gives_up_what_still_runs() -> None:
    running = group(trajectory((0, 7)), state=State.RUNNING)
    assert not Mask(least_fresh_share=1.0).gives_up(running, next_version=100, bound_versions=0)


def test_mask_takes_what_is_fresh_after_the_last_eviction() -> None:
    stale = group(trajectory((0, 7)), evictions=1)
    assert not Mask(least_fresh_share=1.0, most_evictions=1).gives_up(stale, next_version=100, bound_versions=0)


def test_mask_waits_for_nobody() -> None:
    assert not Mask(most_evictions=0).is_waited_for(group(evictions=9))


def test_the_fresh_share_is_that_of_the_tokens_of_the_whole_group() -> None:
    made = group(trajectory((0, 6), (4, 2)), trajectory((5, 2)))
    assert fresh_tokens(made, version=6, bound_versions=2) == 4
    assert fresh_share(made, version=6, bound_versions=2) == 0.4


def test_a_group_without_tokens_is_fresh() -> None:
    assert fresh_share(group(trajectory()), version=100, bound_versions=0) == 1.0


@pytest.mark.parametrize("make", [lambda: Drop(most_evictions=-1), lambda: Mask(most_evictions=-1)])
def test_attempts_below_0_are_refused(make: type[StalenessPolicy]) -> None:
    with pytest.raises(WrongUse, match="most_evictions is 0 or more, not -1"):
        make()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_floor_outside_of_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(WrongUse, match=r"least_fresh_share lies in 0\.\.1"):
        Mask(least_fresh_share=share)


def test_a_lost_server_is_no_eviction() -> None:
    policy = Drop(most_evictions=1)
    lost = group(state=State.RUNNING)
    lost.attempt = 5
    assert not policy.is_waited_for(lost)
    assert policy.gives_up(lost, next_version=100, bound_versions=0)


class Broken:
    """A policy of a third party that fails."""

    name = "broken"
    masks_tokens = False

    def is_waited_for(self, group: Group) -> bool:
        raise KeyError("x")

    def gives_up(self, group: Group, next_version: int, bound_versions: int) -> bool:
        raise KeyError("x")


def test_a_policy_that_fails_is_named() -> None:
    with pytest.raises(RunFailed, match="staleness policy 'broken' failed: KeyError"):
        is_waited_for(Broken(), group())
    with pytest.raises(RunFailed, match="staleness policy 'broken' failed: KeyError"):
        gives_up(Broken(), group(), 1, 1)
