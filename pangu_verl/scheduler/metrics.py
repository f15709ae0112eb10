"""What can be said of a batch without a clock: lags, masks, ages, lengths and tasks.

Invariant: a function of the batch alone, so a replayed run gives the same numbers to the last bit. Times and idle
shares are measured by whoever runs the batch.
"""

from __future__ import annotations

from collections import Counter

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

    ``trained_tokens/mean`` is per trajectory, over all that were consumed, wholly masked ones included.
    """
    lags = trained_tokens_by_lag(batch)
    trained = [
        entry.group.finished[member].tokens - masked
        for entry in batch.groups
        for member, masked in enumerate(entry.masked_tokens)
    ]
    trained_tokens = sum(trained)
    total_tokens = trained_tokens + sum(sum(entry.masked_tokens) for entry in batch.groups)
    ages = [batch.version - entry.group.admitted_version for entry in batch.groups]
    tasks = Counter(entry.group.task for entry in batch.groups)
    metrics = {
        "lag_versions/mean": sum(lag * tokens for lag, tokens in lags.items()) / max(trained_tokens, 1),
        "lag_versions/max": float(max(lags, default=0)),
        "masked_share": 1.0 - trained_tokens / total_tokens if total_tokens else 0.0,
        "wholly_masked_trajectories_share": float(np.mean([tokens == 0 for tokens in trained])) if trained else 0.0,
        "trained_tokens/mean": float(np.mean(trained)) if trained else 0.0,
        "age_versions/mean": float(np.mean(ages)) if ages else 0.0,
        "age_versions/max": float(max(ages, default=0)),
        "attempts/max": float(max((entry.group.attempt + 1 for entry in batch.groups), default=0)),
    }
    return metrics | {f"task_share/{task}": count / len(batch.groups) for task, count in sorted(tasks.items())}
