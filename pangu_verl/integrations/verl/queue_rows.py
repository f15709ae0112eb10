"""Fields of a batch's rows in TransferQueue: read, written and masked, tensors as nested ones.

Invariant: the mask that a policy's loss multiplies with and the one that its denominator counts change together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transfer_queue as tq
from tensordict import TensorDict
from transfer_queue import KVBatchMeta

#: A policy's loss reads one of the masks, its denominator the other.
MASKS = ("response_mask", "loss_mask")


def read(batch: Any, fields: Sequence[str]) -> Any:
    """The fields of every row that the queue has, tensors as nested ones."""
    return tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(fields))


def write(batch: Any, fields: Mapping[str, torch.Tensor]) -> Any:
    """Write fields of every row; returns the batch as the queue describes it, with all the fields that it has."""
    return tq.kv_batch_put(
        keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict(dict(fields), batch_size=len(batch))
    )


def part(batch: Any, chosen: Sequence[bool]) -> Any:
    """The rows of ``batch`` that are chosen, by one truth value for each."""
    rows = [place for place, is_chosen in enumerate(chosen) if is_chosen]
    return KVBatchMeta(
        partition_id=batch.partition_id,
        keys=[batch.keys[row] for row in rows],
        tags=[batch.tags[row] for row in rows],
        extra_info=batch.extra_info,
    )


def nested(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)
