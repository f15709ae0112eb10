"""Ray's logical processors: what a run holds of them and what it is offered.

They are bookkeeping, not cores. Where they run out, verl waits for ever and says nothing
(https://github.com/verl-project/verl/issues/7398). Nothing of Ray is asked here.
"""

from __future__ import annotations

from typing import Any

import psutil
from omegaconf import DictConfig, OmegaConf

from pangu_verl.integrations.verl.layout import is_separate, names_a_cluster

PROCESSORS_KEY = "ray_kwargs.ray_init.num_cpus"
STORAGE_UNITS_KEY = "transfer_queue.backend.SimpleStorage.num_data_storage_units"
_ROLLOUT = "actor_rollout_ref.rollout"
#: What verl's placement groups hold for a device: ``single_controller/ray/base.py:192`` for the trainer,
#: ``workers/rollout/replica.py:208`` for servers on devices of their own.
_PER_TRAINER_DEVICE, _PER_SERVER_DEVICE = 3, 2
#: Ray places an agent-loop or reward worker where one processor is free, and lets go of it once the worker runs.
_TO_PLACE_A_WORKER = 1


def processors_held(config: DictConfig) -> dict[str, int]:
    """Logical processors by who holds them, on the first node."""
    trainer, server = _number(config, "trainer.n_gpus_per_node"), 0
    if is_separate(config):
        server = _number(config, f"{_ROLLOUT}.n_gpus_per_node") * _number(config, f"{_ROLLOUT}.nnodes")
    return {
        "trainer": _PER_TRAINER_DEVICE * trainer,
        "servers": _PER_SERVER_DEVICE * server,
        "TransferQueue": 1 + storage_units(config),
        "placing workers": _TO_PLACE_A_WORKER,
    }


def storage_units(config: DictConfig) -> int:
    """TransferQueue's processes that hold data."""
    backend = OmegaConf.select(config, "transfer_queue.backend.storage_backend")
    return _number(config, STORAGE_UNITS_KEY) if backend in (None, "SimpleStorage") else 0


def processors_offered(config: DictConfig) -> int | None:
    """What Ray will have on this machine; None where it joins a cluster or spans nodes, which is not seen from here."""
    nodes = (_number(config, "trainer.nnodes"), _number(config, f"{_ROLLOUT}.nnodes"))
    if names_a_cluster(config) or max(nodes) > 1:
        return None
    return _number(config, PROCESSORS_KEY) or psutil.cpu_count() or 1


def _number(config: DictConfig, key: str) -> int:
    value: Any = OmegaConf.select(config, key)
    return int(value or 0)
