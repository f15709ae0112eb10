"""Figures over seeds: means with their ranges, and paired differences with an interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy.stats import t as students_t

CONFIDENCE = 0.95


def spread(values: Sequence[float]) -> list[float]:
    """Mean, lowest and highest."""
    return [statistics.fmean(values), min(values), max(values)]


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Of ours - theirs over the seeds the mean, and both ends of its 95% interval by Student's t."""
    differences = [our - their for our, their in zip(ours, theirs, strict=True)]
    mean = statistics.fmean(differences)
    quantile = float(students_t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1))
    half_width = quantile * statistics.stdev(differences) / math.sqrt(len(differences))
    return [mean, mean - half_width, mean + half_width]
