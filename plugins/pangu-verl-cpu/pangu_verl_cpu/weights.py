"""Named weights packed into flat buckets that Ray's object store passes between processes without copying.

A bucket is one array of bytes and the place, type and shape of each tensor in it. Invariant: a model takes all of its
parameters or reports which are missing or unknown; tied parameters count as one.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from pangu_verl_cpu.text_engine import EngineError

BUCKET_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies in a bucket."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset_bytes: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """Some tensors as one array of bytes."""

    entries: tuple[Entry, ...]
    data: np.ndarray

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Views into the bucket, to be read only."""
        data = self.data if self.data.flags.writeable else np.array(self.data)
        flat = torch.from_numpy(data)
        for entry in self.entries:
            dtype = getattr(torch, entry.dtype)
            count_bytes = int(np.prod(entry.shape, dtype=np.int64)) * dtype.itemsize
            view = flat[entry.offset_bytes : entry.offset_bytes + count_bytes]
            yield entry.name, view.view(dtype).reshape(entry.shape)


def _pack(tensors: list[tuple[str, torch.Tensor]]) -> Bucket:
    entries, offset_bytes = [], 0
    for name, tensor in tensors:
        entries.append(Entry(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), offset_bytes))
        offset_bytes += -(-tensor.nbytes // 16) * 16
    data = np.empty(offset_bytes, dtype=np.uint8)
    flat = torch.from_numpy(data)
    for entry, (_, tensor) in zip(entries, tensors, strict=True):
        place = flat[entry.offset_bytes : entry.offset_bytes + tensor.nbytes]
        place.view(tensor.dtype).copy_(tensor.reshape(-1))
    return Bucket(tuple(entries), data)


async def buckets(
    weights: AsyncIterable[tuple[str, torch.Tensor]], dtype: torch.dtype | None = None
) -> AsyncIterator[Bucket]:
    """Pack ``weights`` as they come, cast to ``dtype`` if given."""
    pending: list[tuple[str, torch.Tensor]] = []
    size_bytes = 0
    async for name, tensor in weights:
        tensor = tensor.detach().to(device="cpu", dtype=dtype)
        if pending and size_bytes + tensor.nbytes > BUCKET_BYTES:
            yield _pack(pending)
            pending, size_bytes = [], 0
        pending.append((name, tensor))
        size_bytes += tensor.nbytes
    if pending:
        yield _pack(pending)


def load(model: PreTrainedModel, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Copy ``weights`` into ``model`` in place; raises ``EngineError`` naming what is missing, unknown or misshapen."""
    parameters = model.state_dict(keep_vars=True)
    missing = {tensor.data_ptr() for tensor in parameters.values()}
    for name, tensor in weights:
        if name not in parameters:
            raise EngineError(f"the trainer sent a weight {name!r} that the rollout model does not have")
        target = parameters[name]
        if target.shape != tensor.shape:
            raise EngineError(f"weight {name!r} has shape {tuple(tensor.shape)}, expected {tuple(target.shape)}")
        target.data.copy_(tensor)
        missing.discard(target.data_ptr())
    if missing:
        names = [name for name, tensor in parameters.items() if tensor.data_ptr() in missing]
        raise EngineError(f"the trainer sent no weights for {', '.join(names[:3])} ({len(names)} in all)")
