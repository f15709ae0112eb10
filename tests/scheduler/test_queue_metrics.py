"""What is said of the groups that live."""

from __future__ import annotations

from pangu_verl.queue.entries import Group, Prompt, State
from pangu_verl.scheduler.queue_metrics import queue_metrics


def group(state: State, admitted_version: int) -> Group:
    return Group(Prompt(key="p", task="any", trajectories=1), 0, admitted_version, state)


def test_groups_are_counted_by_state_and_their_ages_in_versions() -> None:
    live = [group(State.WAITING, 5), group(State.RUNNING, 3), group(State.RUNNING, 1), group(State.READY, 5)]
    assert queue_metrics(live, 5) == {
        "queue/waiting_groups": 1.0,
        "queue/running_groups": 2.0,
        "queue/ready_groups": 1.0,
        "queue/age_versions/mean": 1.5,
        "queue/age_versions/max": 4.0,
    }


def test_an_empty_queue_has_no_age() -> None:
    assert set(queue_metrics([], 5).values()) == {0.0}
