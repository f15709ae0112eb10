"""The parts of the queue's benchmark.

A part is a module that offers ``measure(scale, folder)``, which returns figures as JSON data, and ``table(figures)``,
whose first row is the heading. ``folder`` is an empty one on the disk to be measured.
"""

from __future__ import annotations

from dataclasses import dataclass

SEED = 0
BATCH = 64
PARTS = ("disk", "batches", "selecting", "recovery", "peers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How much is measured. ``num_entries`` are groups in the large ledger and keys in TransferQueue."""

    repeats: int
    num_batches: int
    num_entries: int
    num_syncs: int
    num_selections: int


def full_scale(repeats: int) -> Scale:
    return Scale(repeats=repeats, num_batches=150, num_entries=100_000, num_syncs=300, num_selections=50)


#: To see that it runs: its figures are worth nothing.
QUICK = Scale(repeats=2, num_batches=4, num_entries=2_000, num_syncs=10, num_selections=3)
