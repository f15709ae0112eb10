"""A checkpoint with the ledger in it: scheduler, data loader, model and TransferQueue as one cut.

Invariants: the ledger's snapshot is in a checkpoint's folder before verl names the folder as its newest; on resumption
TransferQueue keeps what the restored ledger knows, and nothing else.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

from pangu_verl.errors import RunFailed, WrongUse, first_line
from pangu_verl.integrations.verl.scheduling import arrivals
from pangu_verl.integrations.verl.scheduling.arrivals import Row
from pangu_verl.integrations.verl.scheduling.known_prompts import KnownPrompts
from pangu_verl.integrations.verl.scheduling.prompts import PromptRows
from pangu_verl.integrations.verl.scheduling.settings import Scheduling
from pangu_verl.queue import ledger_resume
from pangu_verl.queue.entries import State
from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.ledger_snapshot import MARK_NAME
from pangu_verl.queue.ledger_store import put_aside
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings

logger = logging.getLogger(__name__)

_FOLDER = "ledger"
_KNOWN_PROMPTS = "known_prompts.json"
_IN_FORCE = "in_force.json"
#: What a controller moves.
_MOVED = ("bound_versions", "window_groups")


def begin(scheduling: Scheduling) -> tuple[Scheduler, Ledger]:
    """A scheduler with a new ledger; one that a run without a checkpoint left behind is put aside."""
    scheduling.ledger.parent.mkdir(parents=True, exist_ok=True)
    if scheduling.ledger.exists():
        put_aside(scheduling.ledger)
    ledger = Ledger.create(scheduling.ledger, scheduling.run_id, scheduling.durability)
    return Scheduler(scheduling.settings, scheduling.policy, scheduling.priority, ledger), ledger


def save(scheduler: Scheduler, ledger: Ledger, known: KnownPrompts, checkpoint: Path) -> None:
    """Into the folder of verl's checkpoint, of weights that contain every step so far."""
    folder = checkpoint / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    known.save(folder / _KNOWN_PROMPTS)
    (folder / _IN_FORCE).write_text(json.dumps({name: getattr(scheduler.settings, name) for name in _MOVED}))
    ledger.snapshot(folder, scheduler.step - 1)


def known_prompts(checkpoint: Path, num_rows: int) -> KnownPrompts:
    """What the run had learnt of its prompts by then; nothing where the checkpoint does not say."""
    file = checkpoint / _FOLDER / _KNOWN_PROMPTS
    return KnownPrompts.load(file, num_rows) if file.is_file() else KnownPrompts(num_rows)


def _in_force(scheduling: Scheduling, folder: Path) -> SchedulerSettings:
    """The settings, with what a controller had made of them."""
    file = folder / _IN_FORCE
    if scheduling.controller is None or not file.is_file():
        return scheduling.settings
    try:
        return replace(scheduling.settings, **json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise RunFailed(f"{file} is damaged ({first_line(error)}); resume from another checkpoint") from error


def resume(
    scheduling: Scheduling, checkpoint: Path, steps: int, prompts: PromptRows, trajectories: int
) -> tuple[Scheduler, Ledger, dict[str, tuple[Row, ...]]]:
    """Go on from verl's ``checkpoint`` after ``steps`` training steps; with the rows of the groups that are ready."""
    mark = checkpoint / _FOLDER / MARK_NAME
    if not mark.is_file():
        raise RunFailed(
            f"{checkpoint} has no ledger, so it was not made by one of our trainer modes; resume in the mode that made "
            "it, or start afresh"
        )
    settings = _in_force(scheduling, checkpoint / _FOLDER)
    whole = arrivals.whole_generations(trajectories)
    payloads = [(key, member) for key, _ in whole for member in range(trajectories)]
    ledger, report = ledger_resume.restore(
        mark, scheduling.ledger, scheduling.run_id, steps - 1, payloads, durability=scheduling.durability
    )
    scheduler = Scheduler.restore(settings, scheduling.policy, ledger, scheduling.priority)
    if unlike := [group for group in scheduler.live.values() if group.prompt.trajectories != trajectories]:
        ledger.close()
        raise WrongUse(
            f"{checkpoint} was made with actor_rollout_ref.rollout.n={unlike[0].prompt.trajectories}, and its prompts "
            f"keep that number; resume with it, not with {trajectories}"
        )
    rows = _ready_rows(scheduler, whole)
    kept = {row.name for found in rows.values() for row in found}
    orphans = sorted(arrivals.all_names() - kept)
    arrivals.clear(orphans)
    prompts.load(list(scheduler.live))
    logger.info("resumed at step %d: %s; %d orphaned rows purged", steps, report, len(orphans))
    return scheduler, ledger, rows


def _ready_rows(scheduler: Scheduler, whole: dict[tuple[str, int], tuple[Row, ...]]) -> dict[str, tuple[Row, ...]]:
    """Of each ready group; one whose rows are of an earlier attempt is generated anew."""
    ready = [group for group in scheduler.live.values() if group.state is State.READY]
    scheduler.restart([group.key for group in ready if (group.key, group.attempt) not in whole])
    return {group.key: whole[group.key, group.attempt] for group in ready if group.state is State.READY}
