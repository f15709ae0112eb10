"""How a configuration lays work out over devices: the arithmetic of batches, workers and servers.

Invariant: what does not divide is refused with the numbers in the message, before anything starts. The rules are
verl's (``verl/utils/config.py`` ``validate_config``, ``verl/trainer/ppo/v1``, ``verl/workers/rollout/llm_server.py``);
verl itself meets some of them only after minutes. Devices are counted here, not used.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.configuration import whole_number

_VISIBLE_DEVICES = {"cuda": "CUDA_VISIBLE_DEVICES", "npu": "ASCEND_RT_VISIBLE_DEVICES"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What a run asks for. Trajectories are counted per weight update of the trainer."""

    trainer_workers: int
    #: Groups of trainer workers that see different trajectories.
    data_parallel_groups: int
    devices_per_server: int
    #: Servers that share the trainer's devices.
    colocated_servers: int
    #: Servers on devices of their own (trainer mode separate_async).
    separate_servers: int
    prompts_per_step: int
    prompts_per_mini_batch: int
    responses_per_prompt: int
    #: None with batches of tokens instead of trajectories.
    trajectories_per_micro_batch: int | None

    @property
    def devices(self) -> int:
        """Of trainer and rollout together."""
        return self.trainer_workers + self.separate_servers * self.devices_per_server

    @property
    def trajectories_per_step(self) -> int:
        """prompts x responses"""
        return self.prompts_per_step * self.responses_per_prompt

    @property
    def trajectories_per_worker_mini_batch(self) -> int:
        """mini-batch prompts x responses / data-parallel groups"""
        return self.prompts_per_mini_batch * self.responses_per_prompt // self.data_parallel_groups


def layout_of(config: DictConfig) -> Layout:
    """The layout of ``config``; raises ``WrongUse`` with the arithmetic for what cannot work."""
    workers = whole_number(config, "trainer.n_gpus_per_node") * whole_number(config, "trainer.nnodes")
    micro_batch = None
    if (
        not config.actor_rollout_ref.actor.use_dynamic_bsz
        and config.actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu
    ):
        micro_batch = whole_number(config, "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu")
    per_server = _devices_per_server(config)
    layout = Layout(
        trainer_workers=workers,
        data_parallel_groups=_data_parallel_groups(config, workers),
        devices_per_server=per_server,
        colocated_servers=_servers(workers, per_server, "trainer.n_gpus_per_node x trainer.nnodes"),
        separate_servers=_separate_servers(config, per_server),
        prompts_per_step=whole_number(config, "data.train_batch_size"),
        prompts_per_mini_batch=whole_number(config, "actor_rollout_ref.actor.ppo_mini_batch_size"),
        responses_per_prompt=whole_number(config, "actor_rollout_ref.rollout.n"),
        trajectories_per_micro_batch=micro_batch,
    )
    _check_batches(layout)
    _check_separate_batches(config, layout)
    _check_heads(config)
    _check_devices(config, layout)
    return layout


def _check_batches(layout: Layout) -> None:
    answers, groups = layout.responses_per_prompt, layout.data_parallel_groups
    sizes = (
        ("data.train_batch_size", layout.prompts_per_step),
        ("actor.ppo_mini_batch_size", layout.prompts_per_mini_batch),
    )
    for key, count in sizes:
        if count * answers % groups:
            raise WrongUse(
                f"{key} x rollout.n = {count} x {answers} = {count * answers} trajectories do not divide among "
                f"{groups} trainer workers; change one of them"
            )
    micro_batch = layout.trajectories_per_micro_batch
    if micro_batch is not None and layout.trajectories_per_worker_mini_batch % micro_batch:
        raise WrongUse(
            f"actor.ppo_micro_batch_size_per_gpu={micro_batch} does not divide a worker's mini-batch of "
            f"{layout.prompts_per_mini_batch} prompts x {answers} / {groups} workers = "
            f"{layout.trajectories_per_worker_mini_batch} trajectories; choose a divisor"
        )


def _check_separate_batches(config: DictConfig, layout: Layout) -> None:
    if not is_separate(config):
        return
    steps = whole_number(config, "trainer.v1.separate_async.parameter_sync_step")
    if layout.prompts_per_step != steps * layout.prompts_per_mini_batch:
        raise WrongUse(
            f"separate_async trains parameter_sync_step x actor.ppo_mini_batch_size = {steps} x "
            f"{layout.prompts_per_mini_batch} = {steps * layout.prompts_per_mini_batch} prompts between two weight "
            f"updates, and data.train_batch_size is {layout.prompts_per_step}; make them equal"
        )


def _data_parallel_groups(config: DictConfig, workers: int) -> int:
    actor = config.actor_rollout_ref.actor
    if actor.strategy == "megatron":
        sizes = actor.megatron
        group = sizes.tensor_model_parallel_size * sizes.pipeline_model_parallel_size * sizes.context_parallel_size
    else:
        group = actor.get("ulysses_sequence_parallel_size", 1)
    if workers % group:
        raise WrongUse(
            f"actor_rollout_ref.actor shares a trajectory among {group} workers (its parallel sizes), and {workers} "
            "workers do not divide into such groups; change the sizes or trainer.n_gpus_per_node x trainer.nnodes"
        )
    return int(workers // group)


def _devices_per_server(config: DictConfig) -> int:
    names = ("tensor_model_parallel_size", "data_parallel_size", "pipeline_model_parallel_size")
    sizes = [whole_number(config, f"actor_rollout_ref.rollout.{name}") for name in names]
    return sizes[0] * sizes[1] * sizes[2]


def _separate_servers(config: DictConfig, per_server: int) -> int:
    if not is_separate(config):
        return 0
    keys = ("actor_rollout_ref.rollout.n_gpus_per_node", "actor_rollout_ref.rollout.nnodes")
    devices = whole_number(config, keys[0]) * whole_number(config, keys[1])
    return _servers(devices, per_server, " x ".join(keys))


def _servers(devices: int, per_server: int, keys: str) -> int:
    if devices % per_server:
        raise WrongUse(
            f"a rollout server takes tensor x data x pipeline parallel = {per_server} devices, and {keys} = {devices} "
            "do not divide into such servers; change actor_rollout_ref.rollout.tensor_model_parallel_size"
        )
    return devices // per_server


def model_facts(config: DictConfig) -> dict[str, Any]:
    """The model's ``config.json`` where it is a folder of this machine, else nothing."""
    path = Path(str(config.actor_rollout_ref.model.path or "")).expanduser() / "config.json"
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _check_heads(config: DictConfig) -> None:
    """Tensor parallelism deals whole attention heads to the devices."""
    facts = model_facts(config)
    sizes = {"actor_rollout_ref.rollout.tensor_model_parallel_size": _devices(config, "rollout")}
    if config.actor_rollout_ref.actor.strategy == "megatron":
        sizes["actor_rollout_ref.actor.megatron.tensor_model_parallel_size"] = _devices(config, "actor.megatron")
    heads = facts.get("num_attention_heads")
    for key, size in sizes.items():
        if isinstance(heads, int) and heads % size:
            raise WrongUse(f"{key}={size} does not divide the model's {heads} attention heads; choose a divisor")


def _devices(config: DictConfig, section: str) -> int:
    return whole_number(config, f"actor_rollout_ref.{section}.tensor_model_parallel_size")


def visible_devices(config: DictConfig) -> int | None:
    """Accelerators that this process may use; None on a CPU, and where none can be counted from here."""
    device = str(config.trainer.device)
    variable = _VISIBLE_DEVICES.get(device)
    if variable is None:
        return None
    if named := os.environ.get(variable):
        return len(named.split(","))
    import torch

    module = getattr(torch, device, None)
    return (int(module.device_count()) or None) if module is not None else None


def is_separate(config: DictConfig) -> bool:
    """Whether some servers have devices of their own: verl's ``separate_async``, and our mode that is made of it."""
    return OmegaConf.select(config, "trainer.v1.trainer_mode") in ("separate_async", "pangu_ssp")


def resumed_checkpoint(config: DictConfig, step: int) -> Path:
    """The folder of the checkpoint that verl went on from, after training step ``step``."""
    trainer = config.trainer
    if trainer.resume_mode == "resume_path":
        return Path(trainer.resume_from_path)
    return Path(trainer.default_local_dir) / f"global_step_{step}"


def names_a_cluster(config: DictConfig) -> bool:
    """Whether Ray is to join a cluster, whose resources cannot be counted from here."""
    return bool(OmegaConf.select(config, "ray_kwargs.ray_init.address") or os.environ.get("RAY_ADDRESS"))


def _check_devices(config: DictConfig, layout: Layout) -> None:
    if names_a_cluster(config):
        return
    logical = OmegaConf.select(config, "ray_kwargs.ray_init.num_gpus")
    if logical is not None and layout.devices > int(logical):
        raise WrongUse(
            f"trainer and rollout ask for {layout.devices} devices and ray_kwargs.ray_init.num_gpus offers {logical}; "
            "raise it or ask for fewer"
        )
    present = visible_devices(config)
    for key in ("trainer.n_gpus_per_node", "actor_rollout_ref.rollout.n_gpus_per_node"):
        asked = OmegaConf.select(config, key)
        if key.startswith("actor") and layout.separate_servers == 0:
            continue
        if present is not None and asked > present:
            raise WrongUse(f"{key}={asked} and this node has {present} {config.trainer.device} devices; ask for fewer")
    single_node = config.trainer.nnodes == 1 and OmegaConf.select(config, "actor_rollout_ref.rollout.nnodes") in (0, 1)
    if present is not None and single_node and layout.devices > present:
        raise WrongUse(
            f"trainer ({layout.trainer_workers}) and rollout ({layout.devices - layout.trainer_workers}) ask for "
            f"{layout.devices} devices and this node has {present}; ask for fewer, or name a cluster in "
            "ray_kwargs.ray_init.address"
        )
