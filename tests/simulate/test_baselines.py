"""The baselines' rules, driven by hand: what verl 0.9.1's replay buffer does, and what admission alone does not."""

from __future__ import annotations

import pytest

from pangu_verl.queue.entries import Group, Prompt, Segment, Trajectory
from pangu_verl.simulate.baselines import AdmissionOnly, OneStepOff, Synchronous, VerlDrop, VerlWait
from pangu_verl.simulate.selection import Selection


def admit_all(selection: Selection, first: int = 0) -> list[Group]:
    """Admit and start as many prompts as there is room for, numbered from ``first``."""
    room = selection.capacity()
    selection.admit([Prompt(key=f"p{first + place}", task="any", trajectories=1) for place in range(room)])
    return selection.dispatch(room)


def finish(selection: Selection, *groups: Group) -> None:
    for group in groups:
        assert selection.complete(group.key, 0, Trajectory((Segment(selection.version, 5),)), group.attempt)


def taken(selection: Selection) -> list[str] | None:
    batch = selection.take()
    return None if batch is None else [entry.group.key for entry in batch.groups]


@pytest.mark.parametrize("warm_up_batches", [0, 1, 3])
def test_verl_dispatches_a_batch_a_step_and_its_warm_up_at_the_start(warm_up_batches: int) -> None:
    selection = VerlDrop(4, 2, warm_up_batches)
    assert len(admit_all(selection)) == 4 * (1 + warm_up_batches)
    assert selection.capacity() == 0
    selection.publish()
    assert selection.capacity() == 4


def test_verl_drops_a_finished_group_once_its_dispatch_is_more_than_s_steps_ago() -> None:
    selection = VerlDrop(1, 1, 1)
    early, late = admit_all(selection)
    selection.publish()
    finish(selection, early)
    assert selection.evict() == []
    selection.publish()
    assert selection.evict() == [early]
    # A batch for each of the two steps, and one prompt for the dropped one.
    assert selection.capacity() == 3
    assert late.key in selection.groups


def test_verl_never_aborts_a_running_group_and_drops_it_when_it_ends() -> None:
    selection = VerlDrop(1, 1, 0)
    [straggler] = admit_all(selection)
    for _ in range(5):
        selection.publish()
    assert selection.evict() == []
    finish(selection, straggler)
    assert selection.evict() == [straggler]


def test_verl_takes_the_oldest_dispatch_first() -> None:
    selection = VerlDrop(1, 5, 0)
    [first] = admit_all(selection)
    selection.publish()
    [second] = admit_all(selection, first=1)
    finish(selection, second, first)
    assert taken(selection) == ["p0"]


def test_verl_wait_holds_the_step_while_a_group_of_age_s_is_running() -> None:
    selection = VerlWait(1, 1, 1)
    quick, straggler = admit_all(selection)
    finish(selection, quick)
    selection.publish()
    assert taken(selection) is None
    finish(selection, straggler)
    assert taken(selection) == ["p0"]


def test_verl_wait_holds_the_step_for_groups_that_have_not_even_started() -> None:
    selection = VerlWait(1, 1, 1)
    selection.admit([Prompt(key=key, task="any", trajectories=1) for key in ("p0", "p1")])
    finish(selection, *selection.dispatch(1))
    selection.publish()
    assert taken(selection) is None


def test_verl_wait_drops_nothing() -> None:
    selection = VerlWait(2, 1, 0)
    finish(selection, admit_all(selection)[0])
    for _ in range(3):
        selection.publish()
    assert selection.evict() == []


def test_admission_alone_keeps_areals_capacity_and_trains_on_whatever_comes() -> None:
    selection = AdmissionOnly(2, 1)
    groups = admit_all(selection)
    assert len(groups) == (1 + 0 + 1) * 2
    for _ in range(4):
        selection.publish()
    assert selection.capacity() == (1 + 4 + 1) * 2 - 4
    finish(selection, *groups[:2])
    assert taken(selection) == ["p0", "p1"]


def test_synchronous_training_admits_a_batch_only_after_the_publication() -> None:
    selection = Synchronous(2)
    finish(selection, *admit_all(selection))
    assert taken(selection) is not None
    assert selection.capacity() == 0
    selection.publish()
    assert selection.capacity() == 2


def test_one_step_off_admits_the_next_batch_as_soon_as_one_is_taken() -> None:
    selection = OneStepOff(2)
    finish(selection, *admit_all(selection))
    assert selection.capacity() == 0
    assert taken(selection) is not None
    assert selection.capacity() == 2


def test_lost_groups_start_again_before_the_others_with_their_age() -> None:
    selection = VerlDrop(2, 1, 0)
    selection.admit([Prompt(key=f"p{place}", task="any", trajectories=1) for place in range(2)])
    [lost] = selection.dispatch(1)
    selection.publish()
    assert selection.restart([lost.key]) == [lost]
    assert [group.key for group in selection.dispatch(2)] == ["p0", "p1"]
    assert (lost.attempt, lost.admitted_version) == (1, 0)


def test_a_batch_is_never_taken_short() -> None:
    selection = AdmissionOnly(2, 0)
    finish(selection, admit_all(selection)[0])
    assert taken(selection) is None
