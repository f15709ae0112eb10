"""What a paced run cannot do, named by key before anything starts."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from pangu_verl.errors import WrongUse
from pangu_verl_paced.pacing import pacing


def refuse_configuration(config: Any) -> None:
    """Raise ``WrongUse`` for the first key that does not fit."""
    now = pacing()
    slots = now.cluster.slots_per_replica
    wishes = {
        "actor_rollout_ref.rollout.name": "pangu_paced",
        "actor_rollout_ref.rollout.checkpoint_engine.backend": "pangu_paced",
        "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
        "actor_rollout_ref.rollout.calculate_log_probs": True,
        "actor_rollout_ref.actor.strategy": "pangu_paced",
        "actor_rollout_ref.actor.use_kl_loss": False,
        "algorithm.adv_estimator": "grpo",
        "algorithm.rollout_correction.bypass_mode": True,
        "algorithm.use_kl_in_reward": False,
        "trainer.nnodes": 1,
        "trainer.n_gpus_per_node": 1,
        "trainer.save_freq": -1,
        "trainer.resume_mode": "disable",
    }
    for key, wanted in wishes.items():
        if (given := OmegaConf.select(config, key)) != wanted:
            raise WrongUse(f"a paced run needs {key}={wanted}, got {given}; set it")
    rollout = config.actor_rollout_ref.rollout
    if rollout.max_num_seqs % slots:
        raise WrongUse(
            f"actor_rollout_ref.rollout.max_num_seqs={rollout.max_num_seqs} is no multiple of the {slots} slots of a "
            "paced replica; set it to those of all replicas behind one of verl's servers"
        )
    if rollout.response_length < now.longest_tokens:
        raise WrongUse(
            f"actor_rollout_ref.rollout.response_length={rollout.response_length} cuts paced answers off, which have "
            f"up to {now.longest_tokens} tokens; raise data.max_response_length"
        )
