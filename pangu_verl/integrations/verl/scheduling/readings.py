"""What a bound controller is told of a step of verl's: taken from the step's metrics.

Invariant: a number that nobody measured is None, under which no controller of ours raises the bound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pangu_verl.scheduler.readings import Reading

_GAP = re.compile(r"scheduler/log_prob_gap/lag_(\d+)/mean")


def reading_of(metrics: Mapping[str, Any], batch_groups: int) -> Reading:
    """``metrics`` are those of a whole step, as they go to verl's loggers.

    Idle shares are of the time since the step before; occupied slots count as busy ones. The effective share is what
    verl's correction says of its weights (``rollout_corr``), the log-ratio is ``scheduler/log_prob_gap`` over the lags:
    both need ``bypass_mode=false``.
    """
    return Reading(
        batch_groups=batch_groups,
        trainer_idle_share=metrics["scheduler/trainer_waiting_share"],
        rollout_idle_share=1.0 - min(1.0, metrics.get("scheduler/replica_occupied_share/mean", 1.0)),
        effective_sample_share=metrics.get("rollout_corr/rollout_is_eff_sample_size"),
        mean_absolute_log_ratio=_log_ratio(metrics),
    )


def _log_ratio(metrics: Mapping[str, Any]) -> float | None:
    """Mean over the trained tokens."""
    gaps = {int(found[1]): value for name, value in metrics.items() if (found := _GAP.fullmatch(name))}
    shares = {lag: metrics.get(f"scheduler/lag_share/{lag}", 0.0) for lag in gaps}
    total = sum(shares.values())
    return sum(gaps[lag] * shares[lag] for lag in gaps) / total if total else None
