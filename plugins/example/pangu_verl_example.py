"""One of each kind of hook, as a package outside pangu_verl would write it.

``PANGU_VERL_PLUGINS=example`` runs with these in place of pangu_verl's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pangu_verl.hookspecs import hookimpl
from pangu_verl.types import AuxiliaryTerm, RewardRow, RewardSource, Verdict


class SameText:
    """Passes an answer that ends in the gold text, letter by letter."""

    name = "same_text"
    domains = frozenset({"math"})

    async def judge(self, row: RewardRow) -> Verdict:
        if row.ground_truth is None:
            return Verdict(score=None, passed=None, reason="the row has no ground truth", source=self.name)
        same = row.answer.strip().rstrip(".").endswith(row.ground_truth)
        return Verdict(score=float(same), passed=same, reason="same text" if same else "other text", source=self.name)


class Shouting:
    """Takes a tenth from an answer in capitals."""

    name = "shouting"

    def apply(self, row: RewardRow, verdict: Verdict) -> float:
        return -0.1 if row.answer.isupper() else 0.0


@hookimpl
def register_reward_sources(register: Callable[[RewardSource], None]) -> None:
    register(SameText())


@hookimpl
def register_auxiliary_terms(register: Callable[[AuxiliaryTerm], None]) -> None:
    register(Shouting())


@hookimpl
def on_checkpoint_saved(folder: Path, step: int, is_durable: bool) -> None:
    """Leaves a note beside the checkpoint."""
    (folder / "example.json").write_text(json.dumps({"step": step, "is_durable": is_durable}))
