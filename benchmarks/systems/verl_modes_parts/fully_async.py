"""verl's ``fully_async_policy``, which has an entry point, a configuration and a queue of its own, on paced compute.

python benchmarks/systems/verl_modes_parts/fully_async.py OVERRIDE...

A program by itself: it composes verl's configuration with what a CPU needs and runs verl's task runner. Its processes
do not all import the module that ``model.external_lib`` names, so ``VERL_USE_EXTERNAL_MODULES`` tells verl of it.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import hydra

from pangu_verl.integrations.verl.configuration import apply_backend_environment

#: In the order of import: the platform first.
_MODULES = ("pangu_verl_cpu.boot", "pangu_verl_paced.registrations")
#: verl's defaults are for GPUs, and for pools that a paced run does not have.
_ON_A_CPU = (
    "data.train_batch_size=0",
    "data.gen_batch_size=1",
    "data.dataloader_num_workers=0",
    "actor_rollout_ref.hybrid_engine=false",
    "actor_rollout_ref.actor.use_torch_compile=false",
    "actor_rollout_ref.actor.use_kl_loss=false",
    "actor_rollout_ref.model.use_remove_padding=true",
    "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
    "actor_rollout_ref.rollout.agent.num_workers=1",
    "actor_rollout_ref.rollout.free_cache_engine=false",
    "actor_rollout_ref.rollout.enforce_eager=true",
    "algorithm.adv_estimator=grpo",
    "critic.enable=false",
    "reward.num_workers=1",
    "trainer.device=cpu",
    "trainer.nnodes=1",
    "trainer.n_gpus_per_node=1",
    "trainer.logger=[console]",
    "trainer.resume_mode=disable",
    "trainer.total_epochs=1",
    # Rollouter and trainer ask for ten each.
    "ray_kwargs.ray_init.num_cpus=48",
    "+ray_kwargs.ray_init.include_dashboard=false",
)


def main(overrides: list[str]) -> None:
    apply_backend_environment("cpu")
    os.environ["VERL_USE_EXTERNAL_MODULES"] = ",".join(_MODULES)
    verl = find_spec("verl")
    assert verl is not None
    assert verl.origin is not None
    folder = Path(verl.origin).parent / "experimental" / "fully_async_policy" / "config"
    with hydra.initialize_config_dir(str(folder), version_base=None):
        config = hydra.compose("fully_async_ppo_trainer", [*_ON_A_CPU, *overrides])
    # As in verl's own entry point.
    from verl.experimental.fully_async_policy.fully_async_main import FullyAsyncTaskRunner
    from verl.trainer.main_ppo import run_ppo

    config.actor_rollout_ref.rollout.nnodes = config.rollout.nnodes
    config.actor_rollout_ref.rollout.n_gpus_per_node = config.rollout.n_gpus_per_node
    run_ppo(config, task_runner_class=FullyAsyncTaskRunner)


if __name__ == "__main__":
    main(sys.argv[1:])
