"""Weights from the trainer to standalone rollout servers, through Ray's object store.

verl's ``CheckpointEngine`` for CPUs: rank 0 of the trainer packs the weights into buckets and announces them to a
mailbox actor; each rollout worker takes them from there in order. Chosen by
``rollout.checkpoint_engine.backend=pangu_cpu``. One mailbox serves the whole run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import ray
import torch
from verl.checkpoint_engine import CheckpointEngine, CheckpointEngineRegistry
from verl.workers.rollout.utils import ensure_async_iterator

# The worker beside a standalone server reads no model configuration, so this import is what tells it of the rollout.
from pangu_verl_cpu import registrations as registrations
from pangu_verl_cpu.weights import BUCKET_BYTES, buckets


@ray.remote(num_cpus=0, max_concurrency=256)
class Mailbox:
    """References to the buckets of the publication under way, in order."""

    def __init__(self) -> None:
        self._references: list[ray.ObjectRef] = []
        self._complete = False
        self._changed = asyncio.Condition()

    async def clear(self) -> None:
        async with self._changed:
            self._references, self._complete = [], False

    async def put(self, references: list[ray.ObjectRef], complete: bool) -> None:
        async with self._changed:
            self._references += references
            self._complete = complete
            self._changed.notify_all()

    async def get(self, index: int) -> list[ray.ObjectRef]:
        """The bucket at ``index`` as a list of one, or an empty list after the last."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._complete or len(self._references) > index)
            return self._references[index : index + 1]


@CheckpointEngineRegistry.register("pangu_cpu")
class ObjectStoreTransport(CheckpointEngine):
    """One end of the transport: rank 0 sends, ranks above 0 receive, the trainer's other ranks only take part."""

    def __init__(self, bucket_size: int, is_master: bool = False) -> None:
        # verl's bound on memory; a smaller bucket lets the receiver work while the next one is packed.
        self._bucket_bytes = min(bucket_size, BUCKET_BYTES)
        self._is_master = is_master
        self._mailbox: ray.actor.ActorHandle | None = None
        self._rank = -1

    def prepare(self) -> dict[str, Any]:
        if not self._is_master:
            return {}
        if self._mailbox is None:
            self._mailbox = Mailbox.remote()  # type: ignore[attr-defined]
        ray.get(self._mailbox.clear.remote())
        return {"mailbox": self._mailbox}

    @classmethod
    def build_topology(
        cls, actor_wg_world_size: int, rollout_world_size: int, metadata: list[dict[str, Any]]
    ) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        mailbox = next(entry["mailbox"] for entry in metadata if entry)
        trainer = {"rank": [0] + [-1] * (actor_wg_world_size - 1), "mailbox": [mailbox] * actor_wg_world_size}
        rollout = {"rank": list(range(1, rollout_world_size + 1)), "mailbox": [mailbox] * rollout_world_size}
        return trainer, rollout

    def init_process_group(self, rank: int, mailbox: ray.actor.ActorHandle) -> None:
        self._rank, self._mailbox = rank, mailbox

    def finalize(self) -> None:
        """Every receiver has all weights: free Ray's store of them."""
        if not self._is_master:
            self._mailbox = None
        elif self._mailbox is not None:
            ray.get(self._mailbox.clear.remote())

    @torch.no_grad()
    async def send_weights(self, weights: Any, global_steps: int | None = None) -> dict[str, float]:
        if self._rank != 0:
            async for _ in ensure_async_iterator(weights):
                pass
            return {}
        assert self._mailbox is not None
        sent_bytes = 0
        async for bucket in buckets(ensure_async_iterator(weights), bucket_bytes=self._bucket_bytes):
            sent_bytes += bucket.data.nbytes
            await self._mailbox.put.remote([ray.put(bucket)], False)
        await self._mailbox.put.remote([], True)
        return {"pangu_cpu/published_bytes/sum": float(sent_bytes)}

    async def receive_weights(self, global_steps: int | None = None) -> AsyncIterator[tuple[str, torch.Tensor]]:
        assert self._mailbox is not None
        index = 0
        while references := await self._mailbox.get.remote(index):
            bucket = await references[0]
            for name_and_tensor in bucket.tensors():
                yield name_and_tensor
            index += 1
