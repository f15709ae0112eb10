"""verl's two handles on a paced rollout: the replica that opens a server, and the adapter that publishes beside it.

Invariant: neither starts a process but the run's one server actor. A replica of verl's asks for no device and no
worker; its handle is its worker.
"""

from __future__ import annotations

import os
from typing import Any

import ray
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutMode, RolloutReplica

from pangu_verl_paced.server import SERVER_NAME, ServerHandle, start_server
from pangu_verl_paced.transport import publication


class PacedServerAdapter(BaseRollout):
    """In the trainer's worker, where servers and trainer share devices."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, replica_rank: int = -1) -> None:
        super().__init__(config, model_config, device_mesh)
        self.replica_rank = int(os.environ["RANK"]) if replica_rank == -1 else replica_rank
        self.is_leader_rank = True

    async def resume(self, tags: list[str]) -> None:
        return None

    async def release(self) -> None:
        return None

    async def update_weights(self, weights: Any, global_steps: int | None = None, **_: Any) -> None:
        """Takes the time of a publication; the weights are not looked at."""
        await publication()
        handle = ServerHandle(ray.get_actor(SERVER_NAME), self.replica_rank)
        await handle.update_weights.remote(global_steps)


class PacedServerReplica(RolloutReplica):
    """One server. Beside the trainer it plays as many replicas as its ``max_num_seqs`` are slots for."""

    async def init_standalone(self) -> None:
        """Without the pool and the workers that verl would make for each replica."""
        self.rollout_mode = RolloutMode.STANDALONE
        await self.launch_servers()
        self.workers = [self._server_handle]

    async def launch_servers(self) -> None:
        actor = start_server(self.config, self.model_config)
        await actor.open.remote(self.replica_rank, self.config.max_num_seqs)
        self._server_handle = ServerHandle(actor, self.replica_rank)
        self._server_address = f"pangu_paced_{self.replica_rank}{self.name_suffix}"
        self.servers = [self._server_handle]
