"""Every cell of three traces, three bounds and two ratios T/W: verl's modes, other baselines and our policies.

The best verl mode of a cell is the point of ``verl_drop`` and ``verl_wait`` with the highest mean fresh-token share. A
cell has a pass mark where s is 2 or 4 and that mode is below 0.90: some point of ours with a fresh-token share of at
least min(1.08 x that mode's, 0.97) at a trained-length ratio no lower than that mode's. Points of ours are with prompts
as they come and in waves of expected length; which of the two reached a mark is told apart.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import BATCH_GROUPS, ESTIMATE_SIGMA, SLOTS, TRAJECTORIES, WAVE_BATCHES, Scale, marks
from .limits import Limit, limit_of
from .points import Cell, Point, points_of, unbounded_points
from .running import run_all
from .spreads import spread
from .targets import Target

TRACES = ("mild", "mid", "heavy")
BOUNDS_VERSIONS = (1, 2, 4)
RATIOS = (0.5, 1.0)
#: One step a version as in the design, and verl's default of parameter_sync_step for separate_async, with fewer seeds.
STEPS_PER_VERSION = (1, 4)
_SEEDS_OF_SEVERAL_STEPS = 2

_CURVE_RATIOS = (0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 1.0)
_KEPT = (
    "ceiling_share",
    "bound_share",
    "fresh_token_share",
    "trained_length_ratio",
    "masked_share",
    "dropped_share",
    "wasted_token_share",
    "max_trained_lag",
)


@dataclass(frozen=True, slots=True)
class _CellRun:
    cell: Cell
    point: Point
    seed: int
    steps: int

    def __call__(self) -> dict[str, float]:
        outcome = self.cell.run(self.point, self.seed, self.steps)
        natural_tokens = self.cell.scenario(self.seed, self.steps).workload.tokens * self.steps
        over_bound = outcome.violations / (outcome.trained_length_ratio * natural_tokens)
        return {name: float(getattr(outcome, name)) for name in _KEPT} | {"over_bound_share": over_bound}


@dataclass(frozen=True, slots=True)
class _CellLimit:
    cell: Cell
    seed: int
    steps: int

    def __call__(self) -> Limit:
        return limit_of(self.cell.scenario(self.seed, self.steps), self.cell.bound_versions)


def measure(scale: Scale) -> dict[str, Any]:
    runs = _runs(scale)
    outcomes = dict(zip(runs, run_all(runs, scale.processes), strict=True))
    limits = [_CellLimit(cell, seed, scale.steps) for cell in _cells() for seed in _seeds(cell, scale)]
    limit_by_cell: defaultdict[Cell, list[Limit]] = defaultdict(list)
    for limit, found in zip(limits, run_all(limits, scale.processes), strict=True):
        limit_by_cell[limit.cell].append(found)
    cells = []
    for cell in _cells():
        points = [_figures(cell, point, outcomes, scale) for point in points_of(cell.bound_versions)]
        points += [_figures(_first(cell), point, outcomes, scale) for point in unbounded_points()]
        cells.append(
            {
                "name": str(cell),
                "trace": cell.trace,
                "bound_versions": cell.bound_versions,
                "train_to_rollout_ratio": cell.train_to_rollout_ratio,
                "steps_per_version": cell.steps_per_version,
                "mark": marks.marked(cell.bound_versions, points, limit_by_cell[cell]),
                "points": points,
                "limit": _curve(limit_by_cell[cell]),
            }
        )
    return {"settings": _settings(scale), "cells": cells, "undominated_verl_points": marks.undominated(cells)}


def _settings(scale: Scale) -> dict[str, Any]:
    return {
        "seeds": list(scale.seeds),
        "seeds_of_several_steps": list(scale.seeds[:_SEEDS_OF_SEVERAL_STEPS]),
        "steps": scale.steps,
        "batch_groups": BATCH_GROUPS,
        "trajectories": TRAJECTORIES,
        "slots": SLOTS,
        "traces": "log-normal, total sigma mild 0.6, mid 1.0, heavy 1.3, capped at 8 x the mean",
        "split": "f = W / (W + T)",
        "figures": "mean, lowest and highest over the seeds",
        "order": "first come, first served; window of (s + 1) batches",
        "waves": f"of {WAVE_BATCHES} batches; expected lengths with an error of sigma {ESTIMATE_SIGMA}",
    }


def _cells() -> list[Cell]:
    return [
        Cell(trace=trace, train_to_rollout_ratio=ratio, bound_versions=bound, steps_per_version=steps)
        for steps in STEPS_PER_VERSION
        for trace in TRACES
        for bound in BOUNDS_VERSIONS
        for ratio in RATIOS
    ]


def _seeds(cell: Cell, scale: Scale) -> tuple[int, ...]:
    return scale.seeds if cell.steps_per_version == 1 else scale.seeds[:_SEEDS_OF_SEVERAL_STEPS]


def _curve(limits: Sequence[Limit]) -> list[list[float]]:
    """Trained-length ratios, and the most fresh-token share that anybody could have with that or more."""
    return [[ratio, statistics.fmean(limit.most_fresh(ratio) for limit in limits)] for ratio in _CURVE_RATIOS]


def _first(cell: Cell) -> Cell:
    """Where the points that have their own bound are run, whatever the bound of ``cell``."""
    ratio = cell.train_to_rollout_ratio
    return Cell(
        trace=cell.trace,
        train_to_rollout_ratio=ratio,
        bound_versions=BOUNDS_VERSIONS[0],
        steps_per_version=STEPS_PER_VERSION[0],
    )


def _runs(scale: Scale) -> list[_CellRun]:
    """By trace and seed, so that a process draws few of them."""
    runs = [
        _CellRun(cell, point, seed, scale.steps)
        for cell in _cells()
        for seed in _seeds(cell, scale)
        for point in [*points_of(cell.bound_versions), *(unbounded_points() if cell == _first(cell) else [])]
    ]
    return sorted(runs, key=lambda run: (TRACES.index(run.cell.trace), run.seed))


def _figures(
    cell: Cell, point: Point, outcomes: Mapping[_CellRun, Mapping[str, float]], scale: Scale
) -> dict[str, Any]:
    found = [outcomes[_CellRun(cell, point, seed, scale.steps)] for seed in _seeds(cell, scale)]
    return {
        "point": point.name,
        "side": point.side,
        **{name: spread([outcome[name] for outcome in found]) for name in found[0]},
    }


def targets(figures: Mapping[str, Any]) -> list[Target]:
    return marks.targets(figures["cells"])


def table(figures: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = [
        [
            "cell",
            "best verl mode",
            "fresh",
            "length",
            "asked",
            "ours",
            "fresh",
            "length",
            "as they come",
            "limit",
            "wait/bound",
            "reached",
        ]
    ]
    for cell in figures["cells"]:
        mark = cell["mark"]
        rows.append(
            [
                cell["name"],
                mark["best_verl"],
                mark["best_verl_fresh_token_share"],
                mark["best_verl_trained_length_ratio"],
                mark["asked_fresh_token_share"],
                mark["ours"],
                mark["ours_fresh_token_share"],
                mark["ours_trained_length_ratio"],
                mark["ours_as_they_come_fresh_token_share"],
                mark["most_fresh_token_share_as_they_come"],
                mark["wait_bound_share"],
                mark["is_reached"],
            ]
        )
    return rows
