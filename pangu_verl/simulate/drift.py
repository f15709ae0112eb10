"""How far the policy moves from version to version: what a bound controller would measure of stale tokens.

A model, not a measurement: with the drift d, the log-ratio of a token of lag l between the present policy and the one
that made it is normal with standard deviation d x l and the mean that makes the importance weights average 1. So the
weights are log-normal with E[w^2] = exp((d l)^2). d = 0 is a policy that does not move. All project defaults.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

#: Beyond this the weights of a lag are worthless in any precision.
_MOST_VARIANCE = 50.0


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift per version over the run: pairs of (share of the run 0..1, drift), linear between and level outside."""

    levels: tuple[tuple[float, float], ...]

    def at(self, share_of_run: float) -> float:
        shares, drifts = zip(*self.levels, strict=True)
        return float(np.interp(share_of_run, shares, drifts))


def effective_sample_share(tokens_by_lag: Mapping[int, int], drift: float) -> float:
    """(sum of w)^2 / (N x sum of w^2) in expectation: 1 / mean of exp((d l)^2); 1 where there are no tokens."""
    total = sum(tokens_by_lag.values())
    squares = sum(tokens * math.exp(_variance(lag, drift)) for lag, tokens in tokens_by_lag.items())
    return total / squares if total else 1.0


def effective_share_by_bound(tokens_by_lag: Mapping[int, int], drift: float) -> dict[int, float]:
    """Effective samples as a share of all tokens, if those with a lag up to s were trained on, for each s there is."""
    total = sum(tokens_by_lag.values())
    shares: dict[int, float] = {}
    for bound in range(max(tokens_by_lag, default=0) + 1):
        kept = {lag: tokens for lag, tokens in tokens_by_lag.items() if lag <= bound}
        shares[bound] = sum(kept.values()) / total * effective_sample_share(kept, drift)
    return shares


def mean_absolute_log_ratio(tokens_by_lag: Mapping[int, int], drift: float) -> float:
    """The mean of |log w|, a folded normal for each lag; 0 where there are no tokens."""
    total = sum(tokens_by_lag.values())
    folded = sum(tokens * _folded_mean(_variance(lag, drift)) for lag, tokens in tokens_by_lag.items())
    return folded / total if total else 0.0


def _variance(lag: int, drift: float) -> float:
    return min((drift * lag) ** 2, _MOST_VARIANCE)


def _folded_mean(variance: float) -> float:
    """E|X| for X normal with this variance and the mean -variance / 2."""
    if variance == 0.0:
        return 0.0
    deviation, mean = math.sqrt(variance), variance / 2
    spread = deviation * math.sqrt(2 / math.pi) * math.exp(-(mean**2) / (2 * variance))
    return spread + mean * math.erf(mean / (deviation * math.sqrt(2)))
