"""With a ledger: whatever the order of verbs, crashes, checkpoints and resumptions, all keeps to the invariants."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import scheduler_lineage as lineage
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from scheduler_machine import SchedulerMachine

from pangu_verl.queue.ledger import Ledger


class LineageMachine(SchedulerMachine):
    """A crash keeps what runs, as where the servers outlive the driver; a resumption ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="scheduler-lineage-"))
        self.cuts: list[tuple[lineage.Cut, int]] = []
        self.num_cuts = 0

    def new_ledger(self) -> Ledger:
        return lineage.new_ledger(self.folder / "ledger.sqlite")

    @rule(is_configured_anew=st.booleans())
    def crash(self, is_configured_anew: bool) -> None:
        lineage.crash(self.world, self.world.configured if is_configured_anew else self.world.settings)

    @rule(is_training=st.booleans())
    def checkpoint(self, is_training: bool) -> None:
        step = len(self.world.steps) - 1
        if is_training and self.world.consumed_at_version:
            step -= 1
        if self.cuts and step < self.cuts[-1][0].step:
            return  # Snapshots follow the steps, which the ledger sees to.
        self.num_cuts += 1
        cut = lineage.checkpoint(self.world, self.folder / f"checkpoint-{self.num_cuts}", step=step)
        self.cuts.append((cut, self.num_keys))

    @precondition(lambda self: self.cuts)
    @rule(data=st.data(), is_configured_anew=st.booleans())
    def resume(self, data: st.DataObject, is_configured_anew: bool) -> None:
        place = data.draw(st.integers(0, len(self.cuts) - 1))
        cut, self.num_keys = self.cuts[place]
        lost = data.draw(st.just(set()) | st.sets(st.sampled_from(sorted(cut.held)))) if cut.held else set()
        orphans = data.draw(st.sets(st.sampled_from([("gone", 0), ("k0", 7)])))
        chosen = self.world.configured if is_configured_anew else self.world.settings
        lineage.resume(self.world, cut, (cut.held - lost) | orphans, chosen)
        del self.cuts[place + 1 :]

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if hasattr(self, "world") and self.world.ledger is not None:
                self.world.ledger.close()
            shutil.rmtree(self.folder)


TestLineage = LineageMachine.TestCase
TestLineage.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
