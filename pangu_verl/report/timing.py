"""Where the seconds of a training step went, by verl's own timers.

Invariant: a part that was never timed is ``None``, not 0. Parts may overlap (generation beside training), so they
need not sum to the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from pangu_verl.report.run_folder import RunFolder

WHOLE_STEP = "timing_s/step"
STEP_PARTS: Mapping[str, str] = {
    "generation": "timing_s/gen",
    "update": "timing_s/update_actor",
    "weight transfer": "timing_s/update_weights",
}


def median_step_s(folder: RunFolder) -> float | None:
    """Median seconds of a training step."""
    return _median([value for _, value in folder.series(WHOLE_STEP)])


def median_parts_s(folder: RunFolder) -> dict[str, float | None]:
    """Median seconds of each part of a step, and of what the parts leave of it ("other", at least 0)."""
    parts = {name: _median([value for _, value in folder.series(key)]) for name, key in STEP_PARTS.items()}
    return parts | {"other": _median(_other_s(folder))}


def _other_s(folder: RunFolder) -> list[float]:
    """What is left of each step whose time and at least one of whose parts are known."""
    found = []
    for data in folder.metrics.values():
        parts = [data[key] for key in STEP_PARTS.values() if key in data]
        if parts and WHOLE_STEP in data:
            found.append(max(data[WHOLE_STEP] - sum(parts), 0.0))
    return found


def _median(values: list[float]) -> float | None:
    return median(values) if values else None
