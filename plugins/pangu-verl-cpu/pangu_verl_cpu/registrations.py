"""Names the CPU rollout and the CPU trainer's engine to verl.

Imported through ``actor_rollout_ref.model.external_lib`` and by the rollout's config. The driver asks
``refuse_configuration`` before it starts anything. verl has no function that registers a server adapter: its table
``_ROLLOUT_REGISTRY`` is the documented place.
"""

from __future__ import annotations

from verl.workers.rollout import base, replica

from pangu_verl_cpu.refusals import refuse_configuration as refuse_configuration
from pangu_verl_cpu.training import engine as engine

#: The value of ``actor_rollout_ref.rollout.name``.
ROLLOUT_NAME = "pangu_cpu"


def _load_replica() -> type[replica.RolloutReplica]:
    from pangu_verl_cpu.rollout import CPUReplica

    return CPUReplica


base._ROLLOUT_REGISTRY[(ROLLOUT_NAME, "async")] = "pangu_verl_cpu.rollout.CPUServerAdapter"
replica.RolloutReplicaRegistry.register(ROLLOUT_NAME, _load_replica)
