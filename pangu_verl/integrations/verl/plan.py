"""What a run would do, for ``pangu-verl train --dry-run``: the arithmetic, and what it will ask Ray and devices for.

Invariant: nothing is started and no device is touched; a configuration that cannot work raises the same ``WrongUse``
as the run would. Memory is an estimate of fixed state from the size of the weights: activations, key-value caches and
the runtime's own memory come on top.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError, safe_open

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl import preflight
from pangu_verl.integrations.verl.layout import Layout, visible_devices
from pangu_verl.integrations.verl.processors import (
    PROCESSORS_KEY,
    processors_held,
    processors_offered,
    storage_units,
)

_GIB = 2**30
_BYTES = {"bf16": 2, "bfloat16": 2, "fp16": 2, "float16": 2, "half": 2, "fp32": 4, "float32": 4}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The whole of it, ready to be printed or to be made JSON of."""

    layout: Layout
    devices_present: int | None
    actors: dict[str, int]
    logical_cpus: int
    #: None where Ray joins a cluster.
    logical_cpus_offered: int | None
    object_store_gib: float
    parameters: int | None
    trainer_state_gib_per_worker: float | None
    rollout_weights_gib_per_device: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"devices": self.layout.devices}


def plan_of(config: DictConfig) -> Plan:
    """Check ``config`` as a run would and say what the run will take; raises ``WrongUse`` for what cannot work."""
    layout = preflight.check(config)
    parameters = _parameters(config)
    plan = Plan(
        layout=layout,
        devices_present=visible_devices(config),
        actors=_actors(config, layout),
        logical_cpus=sum(processors_held(config).values()),
        logical_cpus_offered=processors_offered(config),
        object_store_gib=_object_store_gib(config),
        parameters=parameters,
        trainer_state_gib_per_worker=_trainer_state_gib(config, layout, parameters),
        rollout_weights_gib_per_device=_rollout_weights_gib(config, layout, parameters),
    )
    _check_processors(config, plan)
    return plan


def _check_processors(config: DictConfig, plan: Plan) -> None:
    if plan.logical_cpus_offered is None or plan.logical_cpus <= plan.logical_cpus_offered:
        return
    sum_of_parts = " + ".join(f"{count} {name}" for name, count in processors_held(config).items() if count)
    raise WrongUse(
        f"the run asks Ray for {plan.logical_cpus} logical processors ({sum_of_parts}) and is offered "
        f"{plan.logical_cpus_offered}: it would wait for ever; set {PROCESSORS_KEY}={plan.logical_cpus} "
        "(bookkeeping: it may exceed the cores)"
    )


def _actors(config: DictConfig, layout: Layout) -> dict[str, int]:
    """Ray's actors by what they do; each is a process."""
    return {
        "task runner": 1,
        "trainer worker": layout.trainer_workers,
        "rollout server": layout.colocated_servers + layout.separate_servers,
        "rollout worker on a device of its own": layout.separate_servers * layout.devices_per_server,
        "agent-loop worker": config.actor_rollout_ref.rollout.agent.num_workers,
        "reward worker": config.reward.num_workers,
        "TransferQueue controller": 1,
        "TransferQueue storage": storage_units(config),
    }


def _object_store_gib(config: DictConfig) -> float:
    """Ray's shared memory: what is set, else Ray's own rule (30% of memory, at most 200 GB)."""
    set_bytes = OmegaConf.select(config, "ray_kwargs.ray_init.object_store_memory")
    size = int(set_bytes) if set_bytes is not None else min(0.3 * psutil.virtual_memory().total, 200e9)
    return round(size / _GIB, 1)


def _parameters(config: DictConfig) -> int | None:
    """How many parameters the model's safetensors hold; None where they are not on this machine."""
    folder = Path(str(config.actor_rollout_ref.model.path or "")).expanduser()
    count = 0
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - not a dict
                    size = 1
                    for length in tensors.get_slice(name).get_shape():
                        size *= length
                    count += size
        except (OSError, SafetensorError) as error:
            raise WrongUse(
                f"actor_rollout_ref.model.path: {file} is damaged ({error}); fetch the model anew"
            ) from error
    return count or None


def _trainer_state_gib(config: DictConfig, layout: Layout, parameters: int | None) -> float | None:
    """Weights, gradients and the two moments of Adam of one worker.

    FSDP shards all four over the workers. Megatron keeps bf16 weights and fp32 gradients of its tensor and pipeline
    part on every worker, and shares fp32 weights and moments among all (its distributed optimizer).
    """
    if parameters is None:
        return None
    actor = config.actor_rollout_ref.actor
    if actor.strategy == "megatron":
        parts = actor.megatron.tensor_model_parallel_size * actor.megatron.pipeline_model_parallel_size
        size = parameters * (6 / parts + 12 / layout.trainer_workers)
    else:
        dtype = str(actor.fsdp_config.get("model_dtype", "fp32"))
        size = parameters * 4 * _BYTES.get(dtype, 4) / layout.trainer_workers
    return round(size / _GIB, 4)


def _rollout_weights_gib(config: DictConfig, layout: Layout, parameters: int | None) -> float | None:
    if parameters is None:
        return None
    rollout = config.actor_rollout_ref.rollout
    shards = rollout.tensor_model_parallel_size * rollout.pipeline_model_parallel_size
    return round(parameters * _BYTES.get(str(rollout.dtype), 2) / shards / _GIB, 4)
