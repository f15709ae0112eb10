"""Workers of a soak with a fault built in, which the auditor has to find: ``soak_mutants.py MUTANT FOLDER LIFE KILL``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from pangu_verl.queue.entries import Prompt
from pangu_verl.queue.ledger import Ledger
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.soak import checkpoint
from pangu_verl.simulate.soak.checkpoint import Checkpoint
from pangu_verl.simulate.soak.loader import Loader
from pangu_verl.simulate.soak.order import SoakOrder
from pangu_verl.simulate.soak.worker import main

TESTED_STEP = 7


def widen_the_bound_by_one() -> None:
    settings = SoakOrder.settings

    def wider(self: SoakOrder) -> SchedulerSettings:
        return replace(settings(self), bound_versions=self.bound_versions + 1)

    SoakOrder.settings = wider  # type: ignore[method-assign]


def forget_a_consumed_group() -> None:
    consume = Ledger.consume

    def forgetful(self: Ledger, keys: Collection[str], step: int) -> None:
        consume(self, list(keys)[step == TESTED_STEP :], step)

    Ledger.consume = forgetful  # type: ignore[method-assign]


def skip_a_prompt() -> None:
    prompt = Loader.prompt

    def skipping(self: Loader, index: int) -> Prompt:
        return prompt(self, index + (index >= TESTED_STEP))

    Loader.prompt = skipping  # type: ignore[method-assign]


def resume_the_loader_too_late() -> None:
    newest = checkpoint.newest

    def late(folder: Path) -> Checkpoint | None:
        found = newest(folder)
        return found and replace(found, loader_position=found.loader_position + 1)

    checkpoint.newest = late


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant
    for mutant in (widen_the_bound_by_one, forget_a_consumed_group, skip_a_prompt, resume_the_loader_too_late)
}

if __name__ == "__main__":
    MUTANTS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
