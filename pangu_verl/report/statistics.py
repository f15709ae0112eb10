"""How much accuracy changed on the same rows, with an interval that knows the rows are the same.

Method: Tango's score interval for a difference of paired proportions (Statistics in Medicine 17, 1998, 891-908). It
depends only on how many rows were fixed, how many were broken and how many there are, and keeps close to its level
for few rows and for gains near 0 or 1, where the usual normal interval fails. It is McNemar's test turned round: the
interval leaves out 0 exactly if that test (without continuity correction) rejects at the same level.

A prompt that was answered several times counts once: its rows are averaged over all pairings of an answer before with
an answer after. This is wider than it need be (it takes each prompt as answered once) and never narrower.

Invariants: ``low <= gain <= high``, all within -1..1; swapping before and after changes signs and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.stats import binomtest, norm

CONFIDENCE = 0.95
METHOD = "Tango's score interval for paired proportions, 95%"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedGain:
    """Accuracy before and after on the same ``pairs`` prompts, as shares of 1. ``fixed`` went from wrong to right."""

    before: float
    after: float
    gain: float
    low: float
    high: float
    pairs: int
    fixed: float
    broken: float

    @property
    def includes_zero(self) -> bool:
        return self.low <= 0.0 <= self.high


def paired_gain(before: Mapping[str, Sequence[bool]], after: Mapping[str, Sequence[bool]]) -> PairedGain | None:
    """Compare what passed before and after, by prompt. Prompts of one side alone are left out; ``None`` if all are."""
    first: list[float] = []
    second: list[float] = []
    for prompt, outcomes in before.items():
        later = after.get(prompt, ())
        if outcomes and later:
            first.append(sum(outcomes) / len(outcomes))
            second.append(sum(later) / len(later))
    pairs = len(first)
    if not pairs:
        return None
    fixed = math.fsum(new * (1 - old) for old, new in zip(first, second, strict=True))
    broken = math.fsum(old * (1 - new) for old, new in zip(first, second, strict=True))
    low, high = tango_interval(fixed, broken, pairs)
    return PairedGain(
        before=math.fsum(first) / pairs,
        after=math.fsum(second) / pairs,
        gain=(fixed - broken) / pairs,
        low=low,
        high=high,
        pairs=pairs,
        fixed=fixed,
        broken=broken,
    )


def tango_interval(fixed: float, broken: float, pairs: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of (fixed - broken) / pairs."""
    if pairs < 1 or fixed < 0 or broken < 0 or fixed + broken > pairs * (1 + 1e-9):
        raise ValueError(f"expected 0 <= fixed + broken <= pairs and pairs >= 1; got {fixed=}, {broken=}, {pairs=}")
    return -_upper_bound(broken, fixed, pairs, confidence), _upper_bound(fixed, broken, pairs, confidence)


def share_interval(successes: int, total: int) -> tuple[float, float]:
    """Wilson's interval of one share, for a single validation."""
    interval = binomtest(successes, total).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def _upper_bound(fixed: float, broken: float, pairs: int, confidence: float) -> float:
    """The largest true gain that the score test at this level would not reject."""
    critical = float(norm.ppf(0.5 + confidence / 2)) ** 2
    observed = (fixed - broken) / pairs

    def excess(gain: float) -> float:
        """Squared distance of the observed gain less what chance allows; its root above ``observed`` is the bound."""
        broken_share = _most_likely_broken_share(gain, fixed, broken, pairs)
        variance = 2 * broken_share + gain * (1 - gain)
        return (observed - gain) ** 2 - critical * max(variance, 0.0) / pairs

    start = observed + 1e-9  # at an observed gain of -1 the variance is 0, and so is the excess
    if start >= 1.0 or excess(1.0) <= 0.0:
        return 1.0
    return float(brentq(excess, start, 1.0, xtol=1e-14))


def _most_likely_broken_share(gain: float, fixed: float, broken: float, pairs: int) -> float:
    """Share of rows that break, at maximum likelihood among the tables whose true gain is ``gain``."""
    linear = (2 * pairs - fixed + broken) * gain - fixed - broken
    constant = -broken * gain * (1 - gain)
    root = math.sqrt(max(linear * linear - 8 * pairs * constant, 0.0))
    return (root - linear) / (4 * pairs)
