"""Rollout servers made of small actors, for verl's own manager, balancer, worker groups and publication.

The actors import neither verl nor torch, so one starts in a second. A server kills its process with SIGKILL when a test
told it to.
"""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import ray

#: Ray's CPUs that a server takes: those of the cluster decide how many there can be.
CPUS_PER_SERVER = 1


@ray.remote(num_cpus=0, max_concurrency=64)
class MadeServer:
    """Holds one number as its weights."""

    def __init__(self) -> None:
        self.dies_at = ""
        self.version: int | None = None
        self.weights = 0
        self.aborts = 0

    def _live(self, call: str) -> None:
        if call == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async def die_at(self, call: str) -> None:
        """Die in the next call of that name; ``now``: in this one."""
        self.dies_at = call
        self._live("now")

    async def take(self, version: int) -> None:
        self._live("take")
        self.weights, self.version = 10 * version, version

    async def spoil(self) -> None:
        self.weights += 1

    async def weights_checksum(self) -> str:
        self._live("weights_checksum")
        return f"{self.weights:x}"

    async def state(self) -> tuple[int | None, int]:
        """Its version, and how often it was interrupted."""
        return self.version, self.aborts

    async def abort_all_requests(self, reject_request: bool = False) -> None:
        self._live("abort_all_requests")
        self.aborts += 1

    async def release_kv_cache(self) -> None:
        self._live("release_kv_cache")

    async def resume_kv_cache(self) -> None:
        self._live("resume_kv_cache")

    async def resume_generation(self) -> None:
        self._live("resume_generation")


@ray.remote
class MadeWorker:
    """verl's worker beside a server, or the trainer's where there is none."""

    def __init__(self, server: Any = None) -> None:
        self.server = server
        self.seconds_to_send = 0.0
        self.sending = 0
        self.most_at_a_time = 0

    async def execute_checkpoint_engine(self, method: str, **_: Any) -> dict[str, Any]:
        return {}

    async def send_slowly(self, seconds: float) -> None:
        self.seconds_to_send = seconds

    async def update_weights(self, global_steps: int, mode: str = "") -> dict[str, float]:
        if self.server is not None:
            await self.server.take.remote(global_steps)
            return {}
        import asyncio

        self.sending += 1
        self.most_at_a_time = max(self.most_at_a_time, self.sending)
        await asyncio.sleep(self.seconds_to_send)
        self.sending -= 1
        return {"made/sent/max": 1.0}

    async def most_sent_at_a_time(self) -> int:
        return self.most_at_a_time


def made_replica_class() -> Any:
    """verl's replica with one server and one worker, on a placement group of their own."""
    from verl.workers.rollout.replica import RolloutReplica

    class MadeReplica(RolloutReplica):
        #: Ranks that do not come up.
        broken: frozenset[int] = frozenset()

        def __init__(self, replica_rank: int, **_: Any) -> None:
            self.replica_rank = replica_rank
            self.resource_pool = None

        async def init_standalone(self) -> None:
            group = ray.util.placement_group([{"CPU": CPUS_PER_SERVER}])
            self.resource_pool = SimpleNamespace(pgs=[group])
            await group.ready()
            await self.launch_servers()

        async def launch_servers(self) -> None:
            if self.replica_rank in self.broken:
                raise ValueError(f"no place for {self.replica_rank}")
            self._server_address = f"made_server_{self.replica_rank}"
            self._server_handle = MadeServer.options(name=self._server_address).remote()
            self.servers = [self._server_handle]
            place = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(self.resource_pool.pgs[0])
            worker = MadeWorker.options(
                name=f"made_worker_{self.replica_rank}", num_cpus=CPUS_PER_SERVER, scheduling_strategy=place
            )
            self.workers = [worker.remote(self._server_handle)]
            await self.workers[0].__ray_ready__.remote()

    return MadeReplica


def made_manager(servers: int, first_rank: int = 0) -> Any:
    """verl's manager with so many servers."""
    from omegaconf import OmegaConf
    from verl.workers.rollout.llm_server import LLMServerManager
    from verl.workers.rollout.replica import RolloutReplicaRegistry

    replica_class = made_replica_class()
    RolloutReplicaRegistry.register("made", lambda: replica_class)
    rollout = {
        "name": "made",
        "nnodes": 1,
        "n_gpus_per_node": servers,
        "tensor_model_parallel_size": 1,
        "data_parallel_size": 1,
        "pipeline_model_parallel_size": 1,
        "response_length": 16,
        "disable_log_stats": True,
        "disaggregation": {"enabled": False},
        "prometheus": {"enable": False},
    }
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": rollout, "model": {}}})
    return LLMServerManager.create(config, start_rank=first_rank)


def made_publication(manager: Any, trainer: Any) -> Any:
    """verl's, from the worker ``trainer``, over a transport that moves version numbers alone."""
    from verl.checkpoint_engine import CheckpointEngineManager, CheckpointEngineRegistry
    from verl.checkpoint_engine.base import _worker_cls
    from verl.single_controller.ray import RayClassWithInitArgs, RayWorkerGroup
    from verl.workers.config import CheckpointEngineConfig

    class MadeTransport:
        @classmethod
        def build_topology(cls, trainers: int, receivers: int, metadata: Any) -> tuple[dict[str, Any], dict[str, Any]]:
            return {"rank": [0] * trainers}, {"rank": [1] * receivers}

    CheckpointEngineRegistry.register("made")(MadeTransport)
    group = RayWorkerGroup(worker_handles=[trainer], ray_cls_with_init=RayClassWithInitArgs(cls=_worker_cls))
    return CheckpointEngineManager(CheckpointEngineConfig(backend="made"), group, manager.get_replicas())
