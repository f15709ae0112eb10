"""verl's two handles on a rollout: the replica that starts a server, and the adapter that brings it new weights.

The adapter lives in the trainer's worker (hybrid) or beside a standalone server. Only the first rank of a replica
sends; all ranks walk through the weights, because gathering a sharded tensor is a collective.
"""

from __future__ import annotations

import os
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica
from verl.workers.rollout.utils import ensure_async_iterator

from pangu_verl_cpu.refusals import refuse_unsupported
from pangu_verl_cpu.server import CPUServer, model_dtype
from pangu_verl_cpu.weights import buckets


def server_name(replica_rank: int, suffix: str = "") -> str:
    """Ray's name of the server actor of a replica."""
    return f"pangu_cpu_server_{replica_rank}{suffix}"


class CPUServerAdapter(BaseRollout):
    """Brings the trainer's weights to the replica's server."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, replica_rank: int = -1) -> None:
        super().__init__(config, model_config, device_mesh)
        rank = int(os.environ["RANK"])
        self.replica_rank = rank if replica_rank == -1 else replica_rank
        self.is_leader_rank = True
        self._server: ray.actor.ActorHandle | None = None

    @property
    def server(self) -> ray.actor.ActorHandle:
        """The server actor, looked up at first use: it starts after the trainer's workers."""
        if self._server is None:
            self._server = ray.get_actor(server_name(self.replica_rank))
        return self._server

    async def resume(self, tags: list[str]) -> None:
        await self.server.wake_up.remote()

    async def release(self) -> None:
        await self.server.sleep.remote()

    @torch.no_grad()
    async def update_weights(
        self, weights: Any, global_steps: int | None = None, wire_format: str = "named_tensors", **_: Any
    ) -> None:
        """Send all weights, in the server's type, then publish them as version ``global_steps``."""
        if wire_format != "named_tensors":
            raise ValueError(f"the CPU rollout takes wire_format 'named_tensors', got {wire_format!r}")
        dtype = model_dtype(self.config.dtype)
        references = [ray.put(bucket) async for bucket in buckets(ensure_async_iterator(weights), dtype)]
        await self.server.update_weights.remote(references, global_steps)


class CPUReplica(RolloutReplica):
    """One server actor; it uses the cores of its node and asks Ray for none, as the trainer idles meanwhile."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        refuse_unsupported(self.config, self.model_config)

    async def launch_servers(self) -> None:
        node_id = await self.workers[0].__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id())
        name = server_name(self.replica_rank, self.name_suffix)
        server = CPUServer.options(  # type: ignore[attr-defined]
            name=name,
            num_cpus=0,
            max_concurrency=self.max_concurrency,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node_id, soft=False),
        ).remote(self.config, self.model_config, self.replica_rank)
        await server.__ray_ready__.remote()
        self.servers = [server]
        self._server_handle = server
        self._server_address = name
