"""Leasing the highest priorities from among very many groups that wait."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

from rewards_parts.measuring import spread

from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.ledger_store import Durability

from . import BATCH, SEED, Scale
from .made import LEASE_S, RUN, made_groups, milliseconds_table, seconds


def measure(scale: Scale, folder: Path) -> dict[str, Any]:
    generator = random.Random(SEED)
    groups = made_groups(scale.num_entries)
    figures: dict[str, Any] = {}
    for durability in Durability:
        with Ledger.create(folder / f"{durability}.sqlite", RUN, durability) as ledger:
            ledger.admit(groups)
            ledger.reprioritise({group.key: generator.random() for group in groups})
            select = partial(ledger.select_and_lease, BATCH, "rollout", LEASE_S, 0)
            figures[durability.value] = spread([seconds(select) for _ in range(scale.num_selections)])
    return figures


def table(figures: dict[str, Any]) -> list[list[object]]:
    return milliseconds_table(f"select and lease {BATCH}", figures)
