"""How old each trained token of a step's rows is, at its place in the row.

Invariant: a token that stays out of the loss (of a tool or template, over the bound, of padding) has no lag, and the
lags of a trajectory's trained tokens are those of its segments, in their order, whichever rows they stand in. Masks are
read as they are at the beginning of a step; nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import transfer_queue as tq

from pangu_verl.integrations.verl.scheduling.arrivals import PARTITION
from pangu_verl.integrations.verl.scheduling.feed import Delivery
from pangu_verl.queue.entries import Segment

#: In the place of the lag of a token that is not trained on.
NOT_TRAINED = -1

#: By the row's name: int64, shape (response length,), lags in versions.
TokenLags = Mapping[str, torch.Tensor]


def token_lags(delivery: Delivery) -> TokenLags:
    """Of every row of a step whose masks leave out what is over the bound."""
    names = [row.name for entry in delivery.batch.groups for row in delivery.rows[entry.group.key]]
    found = tq.kv_batch_get(keys=names, partition_id=PARTITION, select_fields=["response_mask"])
    mask_by_row = dict(zip(names, found["response_mask"].unbind(), strict=True))
    lags: dict[str, torch.Tensor] = {}
    for entry in delivery.batch.groups:
        rows = delivery.rows[entry.group.key]
        for member, trajectory in entry.group.finished.items():
            own = [row.name for row in rows if row.session == member]
            trained = trained_lags(trajectory.segments, entry.masked_tokens[member], delivery.batch.version)
            lags |= zip(own, at_their_places([mask_by_row[name] for name in own], trained), strict=True)
    return lags


def trained_lags(segments: Sequence[Segment], num_masked: int, version: int) -> torch.Tensor:
    """The lag in versions of each token behind the first ``num_masked``; int64, shape (trained tokens,)."""
    lags = torch.tensor([version - segment.version for segment in segments], dtype=torch.int64)
    tokens = torch.tensor([segment.tokens for segment in segments], dtype=torch.int64)
    return lags.repeat_interleave(tokens)[num_masked:]


def at_their_places(masks: Sequence[torch.Tensor], lags: torch.Tensor) -> list[torch.Tensor]:
    """``lags`` of a trajectory's trained tokens, spread over its rows; a mask has a 1 where a token is trained on."""
    placed = []
    for mask in masks:
        is_trained = mask.bool()
        row = torch.full(mask.shape, NOT_TRAINED, dtype=torch.int64)
        num_trained = int(is_trained.sum())
        row[is_trained], lags = lags[:num_trained], lags[num_trained:]
        placed.append(row)
    return placed


def has_trained_token(lags: TokenLags, names: Sequence[str]) -> bool:
    """Whether one of these rows has a token in the loss; rows without lags are padding."""
    return any(bool((lags[name] != NOT_TRAINED).any()) for name in names if name in lags)
