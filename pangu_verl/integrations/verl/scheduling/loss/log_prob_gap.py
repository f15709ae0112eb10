"""How far apart trainer and rollout are in the log-probability of the trained tokens, by lag.

At lag 0 both computed with the same weights, so what is left is arithmetic: bf16 differs from float32 by about 0.05
nats in the mean. Per version of lag the policy's own drift comes on top. More than both means that servers do not hold
the weights that they were sent. Invariant: only tokens that are trained on count. Needs log-probabilities that the
trainer computed anew (``bypass_mode=false``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.queue_rows import part, read
from pangu_verl.integrations.verl.scheduling.loss.token_lags import NOT_TRAINED, TokenLags
from pangu_verl.integrations.verl.scheduling.settings import KEY

#: So many steps in a row over the alarm end the run: a step may have few tokens of its smallest lag (project default).
MOST_STEPS_OVER_THE_ALARM = 3


class Gap(NamedTuple):
    """Of the tokens of one lag: mean and largest |log p of the trainer - log p of the rollout|, in nats."""

    mean: float
    largest: float


def read_gaps(batch: Any, lags: TokenLags) -> dict[int, Gap]:
    """Of the rows of ``batch`` that have lags."""
    aged = part(batch, [name in lags for name in batch.keys])
    if not len(aged):
        return {}
    found = read(aged, ["old_log_probs", "rollout_log_probs"])
    trainer, rollout = (torch.cat(found[name].unbind()).double() for name in ("old_log_probs", "rollout_log_probs"))
    return gaps_by_lag((trainer - rollout).abs(), torch.cat([lags[name] for name in aged.keys]))


def gaps_by_lag(gaps: torch.Tensor, lags: torch.Tensor) -> dict[int, Gap]:
    """For each lag that a trained token has, from the smallest; both of shape (tokens,)."""
    found = {}
    for lag in lags[lags != NOT_TRAINED].unique().tolist():
        own = gaps[lags == lag]
        found[lag] = Gap(float(own.mean()), float(own.max()))
    return found


def gap_metrics(gaps: Mapping[int, Gap]) -> dict[str, float]:
    means = {f"scheduler/log_prob_gap/lag_{lag}/mean": gap.mean for lag, gap in gaps.items()}
    return means | {f"scheduler/log_prob_gap/lag_{lag}/max": gap.largest for lag, gap in gaps.items()}


class GapAlarm:
    """Ends a run whose servers do not agree with its trainer. ``limit`` is in nats; None: never.

    It looks at the mean gap of a step's freshest tokens: a step that starts while rollout is ahead has none of lag 0.
    """

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._steps_over = 0

    def check(self, gaps: Mapping[int, Gap], version: int) -> None:
        """A step's gaps, at policy ``version``; a step without a trained token says nothing. Raises ``RunFailed``."""
        if self._limit is None or not gaps:
            return
        lag = min(gaps)
        # A gap that is no number is over any limit.
        self._steps_over = 0 if gaps[lag].mean <= self._limit else self._steps_over + 1
        if self._steps_over == MOST_STEPS_OVER_THE_ALARM:
            raise RunFailed(
                f"policy version {version}: rollout and trainer differ by {gaps[lag].mean:.3g} nats a token at lag "
                f"{lag}, the smallest that there is, over {KEY}.log_prob_gap_alarm={self._limit:g} for "
                f"{self._steps_over} steps in a row; the servers do not hold the weights that they were sent, or "
                "compute otherwise (precision, temperature): compare them, or raise the alarm"
            )
