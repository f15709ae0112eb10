"""The process of a soak that is killed: ``python -m pangu_verl.simulate.soak.worker FOLDER LIFE KILL``.

It goes on from the last whole checkpoint (from nothing where there is none), plays the rest of the run and says on
standard output how far it is, one JSON object a line. Invariants: it ends with the process that started it, whose end
of standard input it watches; what it leaves behind at any moment is enough for the next life.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pangu_verl.errors import PanguError
from pangu_verl.queue import ledger_store
from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.ledger_resume import Resumption, restore
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.simulate.engine import Engine, Start
from pangu_verl.simulate.soak import checkpoint
from pangu_verl.simulate.soak.checkpoint import Checkpoint
from pangu_verl.simulate.soak.folder import SoakFolder
from pangu_verl.simulate.soak.halting import Halting
from pangu_verl.simulate.soak.kills import Aim, described_kill
from pangu_verl.simulate.soak.loader import Loader
from pangu_verl.simulate.soak.log import ConsumptionLog
from pangu_verl.simulate.soak.order import POLICIES, SoakOrder, read_order
from pangu_verl.simulate.soak.payloads import Payloads
from pangu_verl.simulate.soak.trainer import Trainer
from pangu_verl.simulate.tally import StepFacts

_ENDED_BY_PARENT = 3


class Worker:
    """One life: ``run`` plays until the run is over."""

    def __init__(self, folder: SoakFolder, order: SoakOrder, life: int, halting: Halting) -> None:
        self._folder = folder
        self._order = order
        self._life = life
        self._halting = halting
        draws = np.random.default_rng([order.seed, life])
        cut = checkpoint.newest(folder.checkpoints)
        self._ledger, resumption = _ledger_at(cut, folder, order)
        self._scheduler = Scheduler.restore(
            order.settings(), POLICIES[order.policy], self._ledger, priority=order.priority()
        )
        self._payloads = Payloads(cut.payloads if cut else {}, draws)
        self._payloads.discard(resumption.orphans if resumption else ())
        self._step = cut.step if cut else -1
        self._owes_checkpoint = False
        self._loader = Loader(order.trace(), cut.loader_position if cut else 0)
        self._log = ConsumptionLog(folder.life(life))
        self._log.began(step=self._step, version=self._scheduler.version, resumption=_facts(resumption))
        self._trainer = Trainer(
            self._scheduler,
            self._ledger,
            self._log,
            self._payloads,
            draws,
            on_commit=self._tell,
            on_taken=self._check_point_during_step,
        )

    def run(self) -> None:
        first_step = self._step + 1
        self._halting.phase = Aim.TRANSACTION
        self._tell()
        if first_step < self._order.steps:
            plan = self._order.plan(self._loader, self._order.steps - first_step, self._life)
            live = list(self._scheduler.live.values())
            start = Start(prompt=self._loader.position, step=first_step, groups=live)
            Engine(plan, self._trainer, start).run(self._end_step)
            self._check_point()
        self._ledger.close()

    def _end_step(self, facts: StepFacts) -> None:
        self._step = facts.step
        self._trainer.end_step()
        number, since = divmod(facts.step + 1, self._order.steps_per_checkpoint)
        # The last step's is made when the run is over.
        self._owes_checkpoint = since == 0 and facts.step + 1 < self._order.steps
        if self._owes_checkpoint and number % 2 == 0:
            self._check_point()
        self._trainer.clear_given_up()

    def _check_point_during_step(self, batch: Batch) -> None:
        """Every other checkpoint is made while the next step trains, whose groups it then has to leave open."""
        if self._owes_checkpoint:
            self._check_point()

    def _check_point(self) -> None:
        self._owes_checkpoint = False
        self._trainer.commit()
        self._halting.phase = Aim.CHECKPOINT
        self._log.sync()
        checkpoint.write(
            self._folder.checkpoints,
            self._ledger,
            step=self._step,
            loader_position=self._loader.position,
            payloads=self._payloads.copy_with_losses(),
        )
        self._halting.phase = Aim.TRANSACTION

    def _tell(self) -> None:
        samples = (self._step + 1) * self._order.step_samples
        self._halting.trained(samples)
        say({"samples": samples})


def say(message: Mapping[str, Any]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def main(arguments: Sequence[str]) -> int:
    """One life; its folder, its number and where it halts come as arguments. Returns the exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder, life, kill = Path(arguments[0]), int(arguments[1]), described_kill(arguments[2])
    halting = Halting(kill, folder, say)
    place = SoakFolder(folder)
    try:
        Worker(place, read_order(place.order), life, halting).run()
    except PanguError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return error.exit_code
    say({"ended": True})
    return 0


def _ledger_at(cut: Checkpoint | None, folder: SoakFolder, order: SoakOrder) -> tuple[Ledger, Resumption | None]:
    if cut is None:
        ledger_store.remove(folder.ledger)
        return Ledger.create(folder.ledger, order.run_id, order.durability), None
    found = restore(cut.ledger_mark, folder.ledger, order.run_id, cut.step, cut.payloads, durability=order.durability)
    for superseded in folder.superseded_ledgers():
        superseded.unlink()
    return found


def _facts(resumption: Resumption | None) -> dict[str, int] | None:
    """A resumption as numbers."""
    if resumption is None:
        return None
    aside = resumption.set_aside
    return {
        "reopened_groups": resumption.reopened,
        "interrupted_groups": resumption.interrupted,
        "regenerated_trajectories": resumption.regenerated_trajectories,
        "kept_trajectories": resumption.kept_trajectories,
        "purged_orphans": len(resumption.orphans),
        "readmitted_groups": aside.admitted_groups if aside else 0,
        "lost_trajectories": aside.finished_trajectories if aside else 0,
    }


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(_ENDED_BY_PARENT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
