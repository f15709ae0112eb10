"""Resuming from a snapshot, as tests do it: on a clock turned by hand, with payloads that they name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from queue_ledgers import RUN, HandClock

from pangu_verl.queue.ledger import Durability, Ledger
from pangu_verl.queue.ledger_resume import Resumption, restore


def resumed(
    mark: Path,
    path: Path,
    step: int,
    payload_keys: Iterable[tuple[str, int]],
    run_id: str = RUN,
    clock: HandClock | None = None,
) -> tuple[Ledger, Resumption]:
    return restore(mark, path, run_id, step, payload_keys, durability=Durability.NORMAL, clock=clock or HandClock())
