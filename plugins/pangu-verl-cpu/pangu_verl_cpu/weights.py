"""Named weights packed into flat buckets that Ray's object store passes between processes without copying.

A bucket is one array of bytes and the place, type and shape of each tensor in it. Invariant: a model takes all of its
parameters, or none and reports which are missing, unknown or misshapen; tied parameters count as one.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
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
    data = np.empty(max(1, offset_bytes), dtype=np.uint8)  # torch cannot view an empty array as another type
    flat = torch.from_numpy(data)
    for entry, (_, tensor) in zip(entries, tensors, strict=True):
        place = flat[entry.offset_bytes : entry.offset_bytes + tensor.nbytes]
        place.view(tensor.dtype).copy_(tensor.reshape(-1))
    return Bucket(tuple(entries), data)


async def buckets(
    weights: AsyncIterable[tuple[str, torch.Tensor]],
    dtype: torch.dtype | None = None,
    bucket_bytes: int = BUCKET_BYTES,
) -> AsyncIterator[Bucket]:
    """Pack ``weights`` as they come, the floating-point ones cast to ``dtype`` if given.

    A bucket exceeds ``bucket_bytes`` only for a tensor that does so by itself.
    """
    pending: list[tuple[str, torch.Tensor]] = []
    size_bytes = 0
    async for name, tensor in weights:
        tensor = tensor.detach().to(device="cpu", dtype=dtype if tensor.is_floating_point() else None)
        if pending and size_bytes + tensor.nbytes > bucket_bytes:
            yield _pack(pending)
            pending, size_bytes = [], 0
        pending.append((name, tensor))
        size_bytes += tensor.nbytes
    if pending:
        yield _pack(pending)


def load(model: PreTrainedModel, received: Sequence[Bucket]) -> None:
    """Copy the weights in ``received`` into ``model`` in place, after checking that they are whole and fit."""
    parameters = model.state_dict(keep_vars=True)
    _check(parameters, received)
    for bucket in received:
        for name, tensor in bucket.tensors():
            parameters[name].data.copy_(tensor)


def _check(parameters: Mapping[str, torch.Tensor], received: Sequence[Bucket]) -> None:
    missing = {tensor.data_ptr() for tensor in parameters.values()}
    for entry in (entry for bucket in received for entry in bucket.entries):
        if entry.name not in parameters:
            raise EngineError(f"the trainer sent a weight {entry.name!r} that the rollout model does not have")
        target = parameters[entry.name]
        if target.shape != entry.shape:
            raise EngineError(f"weight {entry.name!r} has shape {entry.shape}, expected {tuple(target.shape)}")
        missing.discard(target.data_ptr())
    if missing:
        names = [name for name, tensor in parameters.items() if tensor.data_ptr() in missing]
        raise EngineError(f"the trainer sent no weights for {', '.join(names[:3])} ({len(names)} in all)")


def checksum(model: PreTrainedModel) -> str:
    """16 hex digits of names, types, shapes and contents, tied parameters once; the same for the same weights.

    Each parameter's bytes are added up as 64-bit words, as fast as memory is read (about 20 ms for 300 MB), so words
    that changed places within one parameter are not told apart.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, parameter in model.named_parameters():
        data = parameter.detach().contiguous().view(-1).view(torch.uint8).numpy()
        whole_bytes = data.size // 8 * 8
        total = int(data[:whole_bytes].view(np.uint64).sum(dtype=np.uint64))
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)} {total} ".encode())
        digest.update(data[whole_bytes:])
    return digest.hexdigest()
