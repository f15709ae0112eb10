"""How new weights reach the rollout servers when some of them die meanwhile, and that all of them hold the same.

verl's manager calls every server and worker and fails with the first that is gone. Invariants: a publication is made
again without those that died, and never while the trainer's workers still send the one that failed; after it all
servers that offer a checksum have the same one, or the run ends. Called in the trainer's thread alone, since sending is
a collective of its workers.
"""

from __future__ import annotations

import inspect
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayActorError
from verl.checkpoint_engine import CheckpointEngineManager
from verl.workers.rollout.replica import RolloutReplica

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.scheduling.rollout.servers import Servers

#: How long the trainer's workers may take to end a publication that failed (project default).
LONGEST_SENDING_S = 300.0

logger = logging.getLogger(__name__)


class _Sender:
    """The trainer's workers, and what they were last asked to send."""

    def __init__(self, workers: Any) -> None:
        self._workers = workers
        self.sending: list[ray.ObjectRef] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workers, name)

    def update_weights(self, **arguments: Any) -> list[ray.ObjectRef]:
        self.sending = self._workers.update_weights(**arguments)
        return self.sending


class Publisher(CheckpointEngineManager):
    """Stands in for verl's manager ``made`` of the standalone servers."""

    def __init__(self, made: CheckpointEngineManager, servers: Servers, *, compares_weights: bool) -> None:
        super().__init__(made.config, _Sender(made.actor_wg), [])
        self._servers = servers
        self._compares_weights = compares_weights

    @property
    def survives_losses(self) -> bool:
        """Whether the transport can do without a receiver that it had; one with a process group has to rebuild it."""
        if "rebuild_group" not in inspect.signature(self.backend_cls.__init__).parameters:
            return True
        return bool(self.config.engine_kwargs.get(self.backend, {}).get("rebuild_group"))

    def update_weights(self, global_steps: int | None = None) -> dict[str, Any]:
        """Publish version ``global_steps`` to all servers that live; verl's metrics of it, and ours.

        Raises ``RunFailed`` where their weights differ.
        """
        metrics = self._publish(lambda: self._servers.serving + self._servers.started, global_steps)
        if self._compares_weights:
            metrics |= compare_weights(self._servers.serving, global_steps)
        return metrics | self._servers.metrics()

    def take_in(self, version: int) -> None:
        """Give servers that were started since the present weights, so that they can take requests."""
        if self._servers.started:
            self._publish(lambda: list(self._servers.started), version)

    def _publish(self, receivers: Callable[[], list[RolloutReplica]], version: int | None) -> dict[str, Any]:
        while replicas := receivers():
            self.replicas = replicas
            try:
                metrics: dict[str, Any] = super().update_weights(version)
            except Exception:  # a server that died shows as whatever verl was doing with it
                if not self._servers.have_lost(replicas):
                    raise
                self._wait_for_senders(version)
                continue
            self._servers.serve(replicas)
            return metrics
        return {}

    def _wait_for_senders(self, version: int | None) -> None:
        sending = self.actor_wg.sending
        if sending and len(ray.wait(sending, num_returns=len(sending), timeout=LONGEST_SENDING_S)[0]) < len(sending):
            raise RunFailed(
                f"the trainer's workers still send version {version} {LONGEST_SENDING_S:.0f} s after a rollout server "
                f"died: the transport {self.backend} does not come back from that; go on with --resume"
            )


def compare_weights(replicas: list[RolloutReplica], version: int | None) -> dict[str, float]:
    """How many servers hold the same weights; raises ``RunFailed`` with their names where not all of them do.

    Servers that offer no ``weights_checksum`` (verl's own) are not asked, and one that dies meanwhile does not count.
    """
    asked = {
        f"{replica.server_address}[{place}]": server.weights_checksum.remote()
        for replica in replicas
        for place, server in enumerate(replica.servers)
        if hasattr(server, "weights_checksum")
    }
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for name, answer in asked.items():
        try:
            holders[ray.get(answer)].append(name)
        except RayActorError:
            logger.warning("%s died before its weights of version %s were compared", name, version)
    if len(holders) > 1:
        held = "; ".join(f"{checksum} at {', '.join(names)}" for checksum, names in sorted(holders.items()))
        raise RunFailed(
            f"rollout servers hold different weights of version {version}: {held}; the transport or a server's memory "
            "is at fault, and tokens made since cannot be trusted; go on with --resume"
        )
    num_agreed = sum(len(names) for names in holders.values())
    return {"scheduler/weights_checksum_replicas/max": float(num_agreed)} if num_agreed else {}
