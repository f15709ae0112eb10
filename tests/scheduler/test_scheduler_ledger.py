"""With a ledger every verb is written down before it counts, and a scheduler is rebuilt from what is written."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scheduler_lineage import RUN, new_ledger
from scheduler_made import finish, keys_of, prompt, prompts, trajectory

from pangu_verl.errors import RunFailed
from pangu_verl.queue import ledger_resume
from pangu_verl.queue.entries import LIVE_STATES, Group, State
from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.ledger_store import Durability
from pangu_verl.scheduler.policies import Drop, Wait
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings

SETTINGS = SchedulerSettings(batch_groups=1, bound_versions=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with new_ledger(tmp_path / "ledger.sqlite") as made:
        yield made


class Breakable:
    """A ledger of which one verb fails while ``broken`` names it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.broken: str | None = None

    def __getattr__(self, verb: str) -> Any:
        if verb == self.broken:
            return self._fail
        return getattr(self._ledger, verb)

    def _fail(self, *_: object) -> None:
        raise RunFailed("no room for the ledger")


def with_one_due_to_be_evicted(scheduler: Scheduler) -> None:
    """p0 was consumed and p2 after it, so no step is left for p1, which runs since version 0."""
    scheduler.admit(prompts(4))
    scheduler.dispatch(2)
    finish(scheduler, "p0")
    assert scheduler.take() is not None
    scheduler.publish()
    scheduler.dispatch(1)
    finish(scheduler, "p2")
    assert scheduler.take() is not None


def with_one_running(scheduler: Scheduler) -> None:
    scheduler.admit(prompts(3))
    scheduler.dispatch(1)


def with_one_ready(scheduler: Scheduler) -> None:
    with_one_running(scheduler)
    finish(scheduler)


VERBS: dict[str, tuple[str, Callable[[Scheduler], None], Callable[[Scheduler], object]]] = {
    "admit": ("admit", with_one_running, lambda scheduler: scheduler.admit([prompt("new")])),
    "dispatch": ("lease", with_one_running, lambda scheduler: scheduler.dispatch(1)),
    "complete": (
        "complete",
        with_one_running,
        lambda scheduler: scheduler.complete("p0", 0, trajectory((0, 3)), 0),
    ),
    "evict": ("reopen", with_one_due_to_be_evicted, lambda scheduler: scheduler.evict()),
    "restart": ("reopen", with_one_running, lambda scheduler: scheduler.restart(["p0"])),
    "restart of a ready group": ("reopen", with_one_ready, lambda scheduler: scheduler.restart(["p0"])),
    "abandon": ("abandon", with_one_running, lambda scheduler: scheduler.abandon("p0", "failed every time")),
    "take": ("consume", with_one_ready, lambda scheduler: scheduler.take()),
    "publish": ("publish", with_one_ready, lambda scheduler: scheduler.publish()),
}


def memory_of(scheduler: Scheduler) -> tuple[object, ...]:
    counts = tuple(scheduler.num_groups(state) for state in LIVE_STATES)
    return (
        copy.deepcopy(dict(scheduler.live)),
        counts,
        (scheduler.version, scheduler.next_version, scheduler.step, scheduler.capacity()),
        dict(scheduler.counts),
    )


def recorded(ledger: Ledger) -> tuple[dict[str, Group], int]:
    return {group.key: group for group in ledger.groups(LIVE_STATES)}, ledger.version


@pytest.mark.parametrize("name", VERBS)
def test_what_the_ledger_refuses_does_not_count_in_memory(name: str, ledger: Ledger) -> None:
    written_by, prepare, act = VERBS[name]
    record = Breakable(ledger)
    scheduler = Scheduler(SETTINGS, Drop(), None, record)
    prepare(scheduler)
    before = memory_of(scheduler)
    record.broken = written_by
    with pytest.raises(RunFailed, match="no room"):
        act(scheduler)
    assert memory_of(scheduler) == before
    assert recorded(ledger) == (scheduler.live, scheduler.version)


@pytest.mark.parametrize("name", VERBS)
def test_what_failed_for_the_ledger_can_be_done_again(name: str, ledger: Ledger) -> None:
    written_by, prepare, act = VERBS[name]
    record = Breakable(ledger)
    scheduler = Scheduler(SETTINGS, Drop(), None, record)
    prepare(scheduler)
    record.broken = written_by
    with pytest.raises(RunFailed, match="no room"):
        act(scheduler)
    record.broken = None
    assert act(scheduler)
    assert recorded(ledger) == (scheduler.live, scheduler.version)


def test_a_full_disk_leaves_memory_and_ledger_as_they_were(ledger: Ledger) -> None:
    scheduler = Scheduler(SETTINGS, Wait(), None, ledger)
    with_one_running(scheduler)
    before = memory_of(scheduler)
    pages = ledger._store.rows("PRAGMA page_count")[0][0]
    ledger._store.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(RunFailed, match="no room for the ledger"):
        scheduler.admit(prompts(2_000, first=100))
    assert memory_of(scheduler) == before
    assert recorded(ledger) == (scheduler.live, scheduler.version)


def test_a_key_that_was_trained_on_is_never_admitted_again(ledger: Ledger) -> None:
    scheduler = Scheduler(SETTINGS, Wait(), None, ledger)
    with_one_ready(scheduler)
    assert scheduler.take() is not None
    with pytest.raises(RunFailed, match="p0"):
        scheduler.admit(prompts(1))
    assert list(scheduler.live) == ["p1", "p2"]


def test_a_late_answer_of_a_consumed_group_is_ignored(ledger: Ledger) -> None:
    scheduler = Scheduler(SETTINGS, Wait(), None, ledger)
    with_one_ready(scheduler)
    assert scheduler.take() is not None
    assert not scheduler.complete("p0", 0, trajectory((0, 3)), 0)


def test_an_unknown_key_is_refused(ledger: Ledger) -> None:
    with pytest.raises(RunFailed, match="'p7'"):
        Scheduler(SETTINGS, Wait(), None, ledger).complete("p7", 0, trajectory((0, 3)), 0)


def reopened(ledger: Ledger) -> Ledger:
    ledger.close()
    return Ledger.open(ledger.path, RUN, Durability.NORMAL)


def test_a_crash_loses_nothing(ledger: Ledger) -> None:
    scheduler = Scheduler(SETTINGS, Wait(), None, ledger)
    scheduler.admit(prompts(4, trajectories=2))
    scheduler.dispatch(2)
    finish(scheduler, "p0")
    scheduler.complete("p1", 1, trajectory((0, 3)), 0)
    with reopened(ledger) as again:
        restored = Scheduler.restore(SETTINGS, Wait(), again)
        assert dict(restored.live) == dict(scheduler.live)
        assert memory_of(restored)[1:3] == memory_of(scheduler)[1:3]


def test_a_restored_scheduler_goes_on_counting_steps_versions_and_orders(ledger: Ledger) -> None:
    scheduler = Scheduler(SETTINGS, Wait(), None, ledger)
    with_one_ready(scheduler)
    assert scheduler.take() is not None
    with reopened(ledger) as again:
        restored = Scheduler.restore(SETTINGS, Wait(), again)
        assert (restored.step, restored.version, restored.next_version) == (1, 0, 1)
        assert [group.order for group in restored.admit([prompt("new")])] == [3]


def test_orders_go_on_after_a_snapshot_pruned_the_youngest_groups(ledger: Ledger, tmp_path: Path) -> None:
    scheduler = Scheduler(SETTINGS, Wait(), None, ledger)
    scheduler.admit(prompts(1))
    scheduler.dispatch(1)
    finish(scheduler)
    assert scheduler.take() is not None
    ledger.snapshot(tmp_path, 0)
    with reopened(ledger) as again:
        assert [group.order for group in Scheduler.restore(SETTINGS, Wait(), again).admit([prompt("new")])] == [1]


@pytest.mark.parametrize("num_finished", [0, 4])
def test_what_cannot_be_in_time_under_a_smaller_bound_is_generated_anew(ledger: Ledger, num_finished: int) -> None:
    """Four were started under bound 3 at version 0; under bound 1 only two of them can be trained on in time."""
    scheduler = Scheduler(SchedulerSettings(batch_groups=1, bound_versions=3), Wait(), None, ledger)
    scheduler.admit(prompts(4))
    scheduler.dispatch(4)
    if num_finished:
        finish(scheduler)
    with reopened(ledger) as again:
        restored = Scheduler.restore(SETTINGS, Wait(), again)
        assert restored.num_groups(State.WAITING) == 2
        for _ in range(4):
            restored.dispatch(9)
            finish(restored)
            assert restored.take() is not None
            restored.publish()
        assert not restored.live


def test_kept_trajectories_keep_their_age_over_a_resumption(ledger: Ledger, tmp_path: Path) -> None:
    """One trajectory of version 0 is kept; its group then starts at version 1 and is due at version 1, not 2."""
    settings = SchedulerSettings(batch_groups=1, bound_versions=1)
    scheduler = Scheduler(settings, Wait(), None, ledger)
    scheduler.admit([prompt("p0"), prompt("p1", trajectories=2), *prompts(3, first=2)])
    scheduler.dispatch(2)
    finish(scheduler, "p0")
    scheduler.complete("p1", 0, trajectory((0, 3)), 0)
    assert scheduler.take() is not None
    scheduler.publish()
    mark = ledger.snapshot(tmp_path, 0)
    path = ledger.path
    ledger.close()
    again, _ = ledger_resume.restore(mark, path, RUN, 0, [("p1", 0)], durability=Durability.NORMAL)
    with again:
        restored = Scheduler.restore(settings, Wait(), again)
        assert keys_of(restored.dispatch(9)) == ["p1", "p2"]
        assert (restored.live["p1"].started_version, list(restored.live["p1"].finished)) == (0, [0])
        finish(restored, "p2")
        assert restored.take() is None
        finish(restored, "p1")
        batch = restored.take()
        assert batch is not None
        assert keys_of([entry.group for entry in batch.groups]) == ["p1"]
