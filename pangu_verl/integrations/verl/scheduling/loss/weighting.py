"""Advantages weighted by age: a token of lag L counts d to the power of L, A' = d^L * A.

d is ``pangu.scheduler.staleness_weight``; 1 is off (project default: what it does to learning has not been measured).
Invariant: a token of lag 0, one without a lag and a row of padding keep their advantage to the last bit. Masks and the
critic's returns stay as they are, so the means of a loss are still taken over all trained tokens.
"""

from __future__ import annotations

from typing import Any

import torch

from pangu_verl.integrations.verl.queue_rows import nested, part, read, write
from pangu_verl.integrations.verl.scheduling.loss.token_lags import NOT_TRAINED, TokenLags


def weigh(batch: Any, lags: TokenLags, weight_per_version: float) -> dict[str, float]:
    """Write the weighted ``advantages`` of the rows of ``batch`` that have lags; returns metrics."""
    aged = part(batch, [name in lags for name in batch.keys])
    rows = [lags[name] for name in aged.keys]
    if not rows:
        return {}
    advantages = read(aged, ["advantages"])["advantages"].unbind()
    weighted = [weighed(row, own, weight_per_version) for row, own in zip(advantages, rows, strict=True)]
    write(aged, {"advantages": nested(weighted)})
    trained = torch.cat(rows)
    trained = trained[trained != NOT_TRAINED]
    mean = float(_weights(trained, weight_per_version).mean()) if len(trained) else 1.0
    return {"scheduler/staleness_weight/mean": mean}


def weighed(advantages: torch.Tensor, lags: torch.Tensor, weight_per_version: float) -> torch.Tensor:
    """One row's, shape (response length,); the type stays."""
    return torch.where(lags > 0, advantages * _weights(lags, weight_per_version).to(advantages.dtype), advantages)


def _weights(lags: torch.Tensor, weight_per_version: float) -> torch.Tensor:
    return torch.pow(torch.tensor(weight_per_version, dtype=torch.float64), lags.clamp(min=0))
