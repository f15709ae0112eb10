"""Runs that are taken up from a scheduler that was restored: what is kept is not made again, and what is owed comes first."""

from __future__ import annotations

from pathlib import Path

from queue_ledgers import RUN
from simulate_runs import POLICIES, WrittenTrace, small_cluster

from pangu_verl.queue.entries import Segment, State, Trajectory
from pangu_verl.queue.ledger import Durability, Ledger
from pangu_verl.queue.ledger_resume import restore
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.cluster import Split
from pangu_verl.simulate.engine import Engine, Plan, Start
from pangu_verl.simulate.tally import Tally

SETTINGS = SchedulerSettings(batch_groups=1, bound_versions=4)


def restored(folder: Path, *finished: tuple[int, ...], publications: int = 0) -> Scheduler:
    """Groups of two with these members there, after as many steps as publications; the first group was consumed."""
    trace = WrittenTrace([[10, 10]])
    with Ledger.create(folder / "before.sqlite", RUN, Durability.NORMAL) as ledger:
        scheduler = Scheduler(SETTINGS, POLICIES["wait"], record=ledger)
        for step in range(publications):
            start(scheduler, trace, 1000 + step, (0, 1))
            assert scheduler.take() is not None
            scheduler.publish()
        for index, members in enumerate(finished):
            start(scheduler, trace, index, members)
        mark = ledger.snapshot(folder, publications - 1)
        held = [(group.key, member) for group in scheduler.live.values() for member in group.finished]
    found, _ = restore(mark, folder / "after.sqlite", RUN, publications - 1, held, durability=Durability.NORMAL)
    return Scheduler.restore(SETTINGS, POLICIES["wait"], found)


def start(scheduler: Scheduler, trace: WrittenTrace, index: int, members: tuple[int, ...]) -> None:
    scheduler.admit([trace.prompt(index)])
    [group] = scheduler.dispatch(1)
    for member in members:
        made = Trajectory((Segment(scheduler.version, 30 + member),))
        scheduler.complete(group.key, member, made, group.attempt)


def play(
    scheduler: Scheduler, *, steps: int, first_prompt: int, first_step: int = 0, trace: WrittenTrace | None = None
) -> Tally:
    plan = Plan(
        trace=trace or WrittenTrace([[10, 20]]),
        cluster=small_cluster(publication_s=3.0),
        split=Split(2, 1),
        steps=steps,
    )
    taken_up = Start(prompt=first_prompt, step=first_step, groups=list(scheduler.live.values()))
    return Engine(plan, scheduler, taken_up).run()


def test_a_group_that_was_interrupted_asks_only_for_its_missing_members(tmp_path: Path) -> None:
    scheduler = restored(tmp_path, (1,))
    [group] = scheduler.live.values()
    assert group.state is State.WAITING and set(group.finished) == {1}
    tally = play(scheduler, steps=1, first_prompt=1)
    assert tally.steps[0].begin_s == 10
    assert tally.steps[0].consumed_tokens == 31 + 10
    assert tally.wasted_tokens == 0


def test_a_group_that_was_ready_is_trained_on_at_once(tmp_path: Path) -> None:
    tally = play(restored(tmp_path, (0, 1)), steps=1, first_prompt=1)
    assert tally.steps[0].begin_s == 0
    assert tally.steps[0].consumed_tokens == 30 + 31


def test_the_publication_that_the_last_step_owes_comes_first_and_tokens_are_of_its_version(tmp_path: Path) -> None:
    scheduler = restored(tmp_path, (), publications=2)
    assert (scheduler.version, scheduler.step) == (2, 2)
    tally = play(scheduler, steps=2, first_prompt=1, first_step=3)
    assert scheduler.version == 4
    assert tally.steps[0].begin_s == 3 + 20
    assert tally.steps[0].mean_trained_lag == 0 and tally.steps[0].version == 3


def test_without_a_publication_owed_the_version_goes_on_from_the_restored_one(tmp_path: Path) -> None:
    tally = play(restored(tmp_path, (), publications=2), steps=1, first_prompt=1, first_step=2)
    assert tally.steps[0].begin_s == 20
    assert tally.steps[0].version == 2 and tally.trained_tokens_by_lag == {0: 30}


def test_prompts_go_on_after_the_last_that_was_given_out(tmp_path: Path) -> None:
    trace = WrittenTrace([[10, 20]])
    play(restored(tmp_path, (0, 1)), steps=3, first_prompt=1, trace=trace)
    admitted = {index for index, _ in trace.asked if index}
    assert min(admitted) == 1 and admitted == set(range(1, max(admitted) + 1))


def test_work_that_was_kept_and_then_given_up_counts_as_wasted(tmp_path: Path) -> None:
    scheduler = restored(tmp_path, (1,))
    for _ in range(SETTINGS.bound_versions + 1):
        scheduler.publish()
    assert play(scheduler, steps=1, first_prompt=1, first_step=5).wasted_tokens == 31
