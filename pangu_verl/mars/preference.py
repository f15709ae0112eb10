"""Preference scores brought to one scale per task, before advantages are taken.

A preference is a verdict with a score and no claim of correctness (``passed`` None). Judges use their scales unlike
from task to task, so a score becomes its place among those seen so far: the normal distribution function of
(score - mean) / deviation, which lies in 0..1 and keeps the order. Source: the paper normalises preference rewards per
task (section 2.3) and does not say how; this form is a project default.

Invariant of the statistics: adding values one by one in any order gives the same figures up to rounding (Welford's
update). Values are never kept. Sharing between processes is done elsewhere (``integrations/verl/shared_state.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Self

from pangu_verl.types import RewardRow, Verdict

#: Scores of a task before any is brought to scale: below that its mean and deviation say little. Project default.
FEWEST_SCORES = 32


@dataclass(frozen=True, slots=True)
class Moments:
    """``squares`` is the sum of squared distances from the mean."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def with_value(self, value: float) -> Moments:
        count = self.count + 1
        distance = value - self.mean
        mean = self.mean + distance / count
        return Moments(count, mean, self.squares + distance * (value - mean))

    @property
    def deviation(self) -> float | None:
        """Of the sample (divided by count - 1): None below two values."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else None


class RunningStatistics:
    """Moments by task."""

    def __init__(self, moments: Mapping[str, Moments] | None = None) -> None:
        self.moments = dict(moments or {})

    def add(self, task: str, value: float) -> None:
        """Raises ``ValueError`` for a value that is not finite, which would spoil the figures for good."""
        if not math.isfinite(value):
            raise ValueError(f"a score of task {task!r} has to be finite, got {value!r}")
        self.moments[task] = self.moments.get(task, Moments()).with_value(value)

    def to_json(self) -> dict[str, dict[str, float]]:
        return {
            task: {"count": moments.count, "mean": moments.mean, "squares": moments.squares}
            for task, moments in sorted(self.moments.items())
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Raises ``ValueError`` for anything that ``to_json`` cannot have written."""
        if not isinstance(data, Mapping):
            raise ValueError(f"expected running statistics by task, got {type(data).__name__}")
        return cls({str(task): _read(str(task), entry) for task, entry in data.items()})


def task_of(row: RewardRow, source: str) -> str:
    """What a preference is compared within: one source's scores of a data set, or of a domain where none is named."""
    return f"{source}/{row.extra.get('data_source') or row.domain}"


def is_preference(verdict: Verdict) -> bool:
    return verdict.score is not None and verdict.passed is None


def on_scale(verdict: Verdict, moments: Moments | None) -> Verdict:
    """A preference on its task's scale, with ``raw_score`` in the details; any other verdict as it is.

    So is a preference of a task of which little was seen, or whose scores are all alike.
    """
    if not is_preference(verdict) or verdict.score is None or moments is None:
        return verdict
    if moments.count < FEWEST_SCORES or not moments.deviation:
        return verdict
    place = NormalDist(moments.mean, moments.deviation).cdf(verdict.score)
    return replace(verdict, score=place, details={**verdict.details, "raw_score": verdict.score})


def _read(task: str, entry: Any) -> Moments:
    if isinstance(entry, Mapping) and set(entry) == {"count", "mean", "squares"}:
        count, mean, squares = entry["count"], entry["mean"], entry["squares"]
        numbers = all(type(value) in (int, float) and math.isfinite(value) for value in (count, mean, squares))
        if numbers and type(count) is int and count >= 0 and squares >= 0:
            return Moments(count, float(mean), float(squares))
    raise ValueError(
        f"running statistics of task {task!r}: expected finite count, mean and squares, none of the first and last "
        f"below 0, got {entry!r:.200}"
    )
