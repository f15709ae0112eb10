"""The bounds that the ledger is held to, and what was measured against each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewards_parts.targets import Bound

from pangu_verl.queue.ledger_store import Durability

from .batches import VERBS

Figures = Mapping[str, Any]

BOUNDS = (
    *(
        Bound(
            f"{verb}, {durability}: share of bare SQLite's rate",
            "batches",
            ">=",
            0.5,
            lambda figures, durability=durability, verb=verb: figures[durability][verb]["median_ratio"],
        )
        for durability in Durability
        for verb in (*VERBS, "all")
    ),
    *(
        Bound(
            f"select and lease, {durability}, ms",
            "selecting",
            "<=",
            10,
            lambda figures, durability=durability: 1000 * figures[durability]["median"],
        )
        for durability in Durability
    ),
    *(
        Bound(
            f"recovery, {name}, s",
            "recovery",
            "<=",
            1,
            lambda figures, name=name: figures[name]["median"],
        )
        for name in ("all waiting", "a tenth in work")
    ),
)


def compared(parts: Mapping[str, Figures]) -> list[dict[str, Any]]:
    """Of those parts that were measured."""
    return [bound.compared(parts[bound.part]) for bound in BOUNDS if bound.part in parts]
