"""What can be said of a batch without a clock: lags, context lags, masks, ages, lengths and tasks.

Invariant: a function of the batch alone, so a replayed run gives the same numbers to the last bit. Times and idle
shares are measured by whoever runs the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from pangu_verl.scheduler.batch import Batch


def trained_tokens_by_lag(batch: Batch) -> Counter[int]:
    """How many tokens of each lag, in versions, reach the loss."""
    lags: Counter[int] = Counter()
    for entry in batch.groups:
        for member, masked in enumerate(entry.masked_tokens):
            for segment in entry.group.finished[member].segments:
                left_out = min(masked, segment.tokens)
                masked -= left_out
                lags[batch.version - segment.version] += segment.tokens - left_out
    return +lags


def trained_tokens_by_context_lag(batch: Batch) -> Counter[int]:
    """How many trained tokens there are by the lag of the oldest token that each was conditioned on.

    That is the first token of its trajectory, in the loss or not; prompts have no version.
    """
    lags: Counter[int] = Counter()
    for entry in batch.groups:
        for member, masked in enumerate(entry.masked_tokens):
            trajectory = entry.group.finished[member]
            made = [segment for segment in trajectory.segments if segment.tokens]
            if made:
                lags[batch.version - made[0].version] += trajectory.tokens - masked
    return +lags


def tokens_by_lag(batch: Batch) -> Counter[int]:
    """How many tokens of each lag, in versions, there are: those that stay out of the loss too."""
    lags: Counter[int] = Counter()
    for entry in batch.groups:
        for trajectory in entry.group.finished.values():
            for segment in trajectory.segments:
                lags[batch.version - segment.version] += segment.tokens
    return lags


def batch_metrics(batch: Batch) -> dict[str, float]:
    """Of the trained tokens the lag in versions; of the groups the age in versions since admission; of all, the shares.

    ``trained_tokens/mean`` is per trajectory, over all that were consumed, wholly masked ones included. ``lag_share/L``
    is the share of the trained tokens that have lag L, for each lag that the batch's bounds allow.
    """
    lags, context_lags = trained_tokens_by_lag(batch), trained_tokens_by_context_lag(batch)
    trained = [
        entry.group.finished[member].tokens - masked
        for entry in batch.groups
        for member, masked in enumerate(entry.masked_tokens)
    ]
    trained_tokens = sum(trained)
    total_tokens = trained_tokens + sum(sum(entry.masked_tokens) for entry in batch.groups)
    ages = [batch.version - entry.group.admitted_version for entry in batch.groups]
    metrics = {
        "lag_versions/mean": _mean(lags),
        "lag_versions/max": float(max(lags, default=0)),
        "context_lag_versions/mean": _mean(context_lags),
        "context_lag_versions/max": float(max(context_lags, default=0)),
        "masked_share": 1.0 - trained_tokens / total_tokens if total_tokens else 0.0,
        "wholly_masked_trajectories_share": float(np.mean([tokens == 0 for tokens in trained])) if trained else 0.0,
        "trained_tokens/mean": float(np.mean(trained)) if trained else 0.0,
        "age_versions/mean": float(np.mean(ages)) if ages else 0.0,
        "age_versions/max": float(max(ages, default=0)),
        "attempts/max": float(max((entry.group.attempt + 1 for entry in batch.groups), default=0)),
    }
    largest_bound = max((entry.bound_versions for entry in batch.groups), default=-1)
    return metrics | {f"lag_share/{lag}": lags[lag] / max(trained_tokens, 1) for lag in range(largest_bound + 1)}


def task_metrics(batches: Iterable[Batch]) -> dict[str, float]:
    """Of all groups of some batches: by task its share of them, and the mean of a trajectory's trained tokens."""
    groups: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    trajectories: Counter[str] = Counter()
    for entry in (entry for batch in batches for entry in batch.groups):
        task = entry.group.task
        groups[task] += 1
        tokens[task] += entry.trained_tokens
        trajectories[task] += len(entry.masked_tokens)
    shares = {f"task_share/{task}": number / groups.total() for task, number in sorted(groups.items())}
    means = {f"trained_tokens/{task}/mean": tokens[task] / max(trajectories[task], 1) for task in sorted(groups)}
    return shares | means


def _mean(tokens_by_lag: Counter[int]) -> float:
    """0 without tokens."""
    return sum(lag * tokens for lag, tokens in tokens_by_lag.items()) / max(tokens_by_lag.total(), 1)
