"""Ray's logical processors: where they run out, verl waits for ever and says nothing."""

from __future__ import annotations

from typing import Any

import psutil
from omegaconf import DictConfig

from pangu_verl.integrations.verl.config_lint.trap import (
    ROLLOUT,
    UPSTREAM,
    VERL,
    Rule,
    Target,
    Trap,
    trainer_mode,
    value,
)
from pangu_verl.integrations.verl.layout import names_a_cluster

_UNITS = "transfer_queue.backend.SimpleStorage.num_data_storage_units"
_PROCESSORS = "ray_kwargs.ray_init.num_cpus"
#: What verl's placement groups hold for a device: ``single_controller/ray/base.py:192`` for the trainer,
#: ``workers/rollout/replica.py:208`` for servers on devices of their own.
_PER_TRAINER_DEVICE, _PER_SERVER_DEVICE = 3, 2
#: Ray places an agent-loop or reward worker where one processor is free, and lets go of it once the worker runs.
_TO_PLACE_A_WORKER = 1


def logical_processors(config: DictConfig, target: Target) -> Trap | None:
    """TransferQueue's controller and storage units hold one processor each, the devices' placement groups more."""
    if names_a_cluster(config) or value(config, "trainer.nnodes", 1) > 1 or value(config, f"{ROLLOUT}.nnodes", 0) > 1:
        return None
    units = _storage_units(config)
    queue = 1 + units
    needed = queue + _held_by_devices(config) + _TO_PLACE_A_WORKER
    offered = int(value(config, _PROCESSORS) or psutil.cpu_count() or 1)
    if needed <= offered:
        return None
    stuck = "TransferQueue" if queue > offered else "the trainer, a reward worker or an agent-loop worker"
    return Trap(
        name="ray_init.num_cpus",
        status="problem",
        found=f"Ray has {offered} logical processors and the run holds {needed}, {queue} of them for TransferQueue "
        f"({_UNITS}={units}): {stuck} waits for ever",
        advice=f"set {_PROCESSORS}={needed} (for Ray's bookkeeping; it may exceed the cores), or fewer {_UNITS}",
        source=f"{UPSTREAM}/issues/7398; {UPSTREAM}/issues/7656; {VERL}, single_controller/ray/base.py:192",
    )


def _storage_units(config: DictConfig) -> int:
    if value(config, "transfer_queue.backend.storage_backend", "SimpleStorage") != "SimpleStorage":
        return 0
    return int(value(config, _UNITS, 0))


def _held_by_devices(config: DictConfig) -> int:
    trainer: Any = value(config, "trainer.n_gpus_per_node", 1)
    server: Any = 0
    if trainer_mode(config) == "separate_async":
        server = value(config, f"{ROLLOUT}.n_gpus_per_node", 0) * value(config, f"{ROLLOUT}.nnodes", 0)
    return int(_PER_TRAINER_DEVICE * trainer + _PER_SERVER_DEVICE * server)


RULES: tuple[Rule, ...] = (logical_processors,)
