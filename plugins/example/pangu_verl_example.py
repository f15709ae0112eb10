"""One of each kind of hook, as a package outside pangu_verl would write it.

``PANGU_VERL_PLUGINS=example`` runs with these in place of pangu_verl's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pangu_verl.hookspecs import hookimpl
from pangu_verl.queue.entries import Group
from pangu_verl.queue.terms.candidates import Candidates, FloatColumn
from pangu_verl.scheduler.readings import Decision, Reading
from pangu_verl.types import (
    AuxiliaryTerm,
    BoundController,
    PriorityTerm,
    RewardRow,
    RewardSource,
    StalenessPolicy,
    Verdict,
)


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


class KeepAll:
    """Waits for nothing and gives nothing up: tokens over the bound stay as context."""

    name = "keep_all"
    masks_tokens = True

    def is_waited_for(self, group: Group) -> bool:
        return False

    def gives_up(self, group: Group, next_version: int, bound_versions: int) -> bool:
        return False


class Cautious:
    """Allows a lag of one version, whatever the run began with."""

    name = "cautious"

    def decide(self, reading: Reading, now: Decision) -> Decision:
        return now._replace(bound_versions=min(now.bound_versions, 1))


class YoungestFirst:
    """Of the groups that may be chosen the one that was admitted last."""

    name = "youngest_first"

    def score(self, candidates: Candidates) -> FloatColumn:
        behind = candidates.orders.max(initial=0) - candidates.orders
        score: FloatColumn = 1.0 / (1.0 + behind)
        return score


@hookimpl
def register_reward_sources(register: Callable[[RewardSource], None]) -> None:
    register(SameText())


@hookimpl
def register_auxiliary_terms(register: Callable[[AuxiliaryTerm], None]) -> None:
    register(Shouting())


@hookimpl
def register_staleness_policies(register: Callable[[StalenessPolicy], None]) -> None:
    register(KeepAll())


@hookimpl
def register_bound_controllers(register: Callable[[BoundController], None]) -> None:
    register(Cautious())


@hookimpl
def register_priority_terms(register: Callable[[PriorityTerm], None]) -> None:
    register(YoungestFirst())


@hookimpl
def on_checkpoint_saved(folder: Path, step: int, is_durable: bool) -> None:
    """Leaves a note beside the checkpoint."""
    (folder / "example.json").write_text(json.dumps({"step": step, "is_durable": is_durable}))
