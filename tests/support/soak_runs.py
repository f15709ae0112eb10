"""Small soaks for tests: tens of steps instead of thousands, everything else as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pangu_verl.simulate.soak.order import SoakOrder
from pangu_verl.simulate.soak.report import SoakReport
from pangu_verl.simulate.soak.running import run_soak


def small_order(**changes: Any) -> SoakOrder:
    """Eight groups of four a step, forty steps."""
    return SoakOrder(
        **{
            "samples": 1280,
            "kills": 4,
            "policy": "mask",
            "bound_versions": 1,
            "seed": 0,
            "batch_groups": 8,
            "trajectories": 4,
            **changes,
        }
    )


def soaked(folder: Path, order: SoakOrder) -> SoakReport:
    return run_soak(folder, order, lambda news: None)


def all_kept(report: SoakReport) -> bool:
    """Nothing over the bound, nothing lost, nothing trained twice, no disagreement."""
    return not any(report.breaches.values()) and report.first_breach is None
