"""Crashes, checkpoints and resumptions of a ``World`` with a ledger, as its witness expects them."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from scheduler_world import Answer, Known, World

from pangu_verl.queue import ledger_resume
from pangu_verl.queue.entries import LIVE_STATES, State
from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.ledger_store import Durability
from pangu_verl.scheduler.policies import Wait
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings

RUN = "run-of-a-test"
Payloads = Collection[tuple[str, int]]


def new_ledger(path: Path) -> Ledger:
    return Ledger.create(path, RUN, Durability.NORMAL)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A checkpoint: the mark of the ledger's snapshot, and what the witness knew."""

    mark: Path
    step: int
    version: int
    consumed_at_version: int
    known: Mapping[str, Known]
    steps: list[tuple[str, ...]]
    late_answers: list[Answer]
    held: frozenset[tuple[str, int]]


def crash(world: World, settings: SchedulerSettings) -> None:
    """The process is killed and starts again on the same ledger."""
    assert world.ledger is not None
    path = world.ledger.path
    world.ledger.close()
    world.ledger = Ledger.open(path, RUN, Durability.NORMAL)
    _restore(world, settings)


def checkpoint(world: World, folder: Path, *, step: int) -> Cut:
    """Of weights that contain the steps up to ``step``: all, or all but the last one, which is being trained on."""
    assert world.ledger is not None
    folder.mkdir()
    mark = world.ledger.snapshot(folder, step)
    known = copy.deepcopy(world.known)
    open_again = world.steps[step + 1 :]
    for key in (key for batch in open_again for key in batch):
        known[key].state = State.READY
    late_answers = list(world.late_answers)
    for key, group in known.items():
        if group.state is State.RUNNING:
            late_answers.append((key, 0, world.spanning(group), group.attempt))
    return Cut(
        mark=mark,
        step=step,
        version=world.version,
        consumed_at_version=world.consumed_at_version - len(open_again) * world.settings.batch_groups,
        known=known,
        steps=world.steps[: step + 1],
        late_answers=late_answers,
        held=frozenset(
            (key, member) for key, group in known.items() if group.state in LIVE_STATES for member in group.finished
        ),
    )


def resume(world: World, cut: Cut, payloads: Payloads, settings: SchedulerSettings) -> None:
    """A new process goes on from ``cut``, with these payloads in the checkpoint's TransferQueue."""
    assert world.ledger is not None
    path = world.ledger.path
    consumed_since = sum(len(batch) for batch in world.steps[cut.step + 1 :])
    world.ledger.close()
    world.ledger, report = ledger_resume.restore(cut.mark, path, RUN, cut.step, payloads, durability=Durability.NORMAL)
    world.known = {key: copy.deepcopy(known) for key, known in cut.known.items()}
    world.version, world.consumed_at_version = cut.version, cut.consumed_at_version
    world.steps, world.late_answers = list(cut.steps), list(cut.late_answers)
    for key, known in world.known.items():
        _rewind(key, known, payloads)
    kept = {(key, member) for key in world.keys(*LIVE_STATES) for member in world.known[key].finished}
    assert (report.kept_trajectories, set(report.orphans)) == (len(kept), set(payloads) - kept)
    assert report.regenerated_trajectories == len(cut.held - set(payloads))
    assert (report.waiting, report.ready) == (len(world.keys(State.WAITING)), len(world.keys(State.READY)))
    if world.steps[: cut.step + 1] == cut.steps:
        assert report.reopened == consumed_since
    _restore(world, settings)


def _rewind(key: str, known: Known, payloads: Payloads) -> None:
    if known.state not in LIVE_STATES:
        return
    known.finished = {member: trajectory for member, trajectory in known.finished.items() if (key, member) in payloads}
    is_whole = len(known.finished) == known.prompt.trajectories
    if known.state is State.RUNNING or (known.state is State.READY and not is_whole):
        known.state, known.attempt = State.WAITING, known.attempt + 1
    if known.state is State.WAITING:
        known.bound = None
        if not known.finished:
            known.started = None


def _restore(world: World, settings: SchedulerSettings) -> None:
    # A bound that was moved since a group started is not remembered: the group's is then that of the settings.
    started = [known for known in world.known.values() if known.state in LIVE_STATES and known.bound is not None]
    is_as_before = all(known.bound == settings.bound_of(known.prompt.task) for known in started)
    world.scheduler = Scheduler.restore(settings, world.policy, _ledger(world), world.priority)
    for key in world.keys(*LIVE_STATES):
        known, group = world.known[key], world.scheduler.live[key]
        if known.started is None:
            continue
        deadline = known.started + settings.bound_of(known.prompt.task)
        if group.attempt > known.attempt:
            assert not world.policy.masks_tokens
            has_credit = is_as_before and world.policy == Wait() and not known.is_kept
            assert deadline < world.scheduler.next_version or not has_credit
            known.wait_again()
        elif not known.is_kept:
            known.bound = deadline - known.started


def _ledger(world: World) -> Ledger:
    assert world.ledger is not None
    return world.ledger
