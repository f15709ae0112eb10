"""What the CPU backend cannot do, refused by the name of its config key before anything starts."""

from __future__ import annotations

import json
from typing import Any


def refuse_unsupported(rollout: Any, model: Any) -> None:
    """Raise ``ValueError`` for the first key that asks for what the CPU rollout does not have."""
    wishes = {
        "rollout.tensor_model_parallel_size": (rollout.tensor_model_parallel_size, 1),
        "rollout.data_parallel_size": (rollout.data_parallel_size, 1),
        "rollout.pipeline_model_parallel_size": (rollout.pipeline_model_parallel_size, 1),
        "rollout.expert_parallel_size": (rollout.expert_parallel_size, 1),
        "rollout.multi_turn.enable": (bool(rollout.multi_turn.enable), False),
        "rollout.agent.default_agent_loop": (rollout.agent.default_agent_loop, "single_turn_agent"),
        "rollout.disaggregation.enabled": (bool(rollout.disaggregation.enabled), False),
        "rollout.ignore_eos": (bool(rollout.ignore_eos), False),
        "rollout.full_determinism": (bool(rollout.full_determinism), False),
        "rollout.enable_rollout_routing_replay": (bool(rollout.enable_rollout_routing_replay), False),
        "rollout.quantization": (rollout.quantization, None),
        "rollout.logprobs_mode": (rollout.logprobs_mode, "processed_logprobs"),
        "model.lora_rank": (int(model.get("lora_rank", 0) or 0), 0),
    }
    for key, (given, possible) in wishes.items():
        if given != possible:
            raise ValueError(
                f"the CPU rollout needs actor_rollout_ref.{key}={_as_written(possible)}, got {_as_written(given)}; "
                "use another backend for it"
            )


def _as_written(value: Any) -> str:
    """As in a configuration file."""
    return value if isinstance(value, str) else json.dumps(value)


def refuse_configuration(config: Any) -> None:
    """As ``refuse_unsupported``, for a run's whole configuration: also critics and models that are not text alone."""
    from transformers import AutoConfig
    from verl.trainer.ppo.utils import need_critic

    actor_rollout = config.actor_rollout_ref
    refuse_unsupported(actor_rollout.rollout, actor_rollout.model)
    if need_critic(config):
        raise ValueError(
            f"the CPU backend trains no critic, which algorithm.adv_estimator={config.algorithm.adv_estimator} needs; "
            "use algorithm.adv_estimator=grpo or another backend"
        )
    if (ranks := actor_rollout.actor.fsdp_config.ulysses_sequence_parallel_size) > 1:
        raise ValueError(
            "the CPU backend packs whole sequences and needs "
            f"actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size=1, got {ranks}"
        )
    model = AutoConfig.from_pretrained(
        actor_rollout.model.path, trust_remote_code=bool(actor_rollout.model.trust_remote_code)
    )
    if hasattr(model, "vision_config") or hasattr(model, "audio_config"):
        raise ValueError(
            f"the CPU rollout takes text alone; actor_rollout_ref.model.path={actor_rollout.model.path} is multi-modal"
        )
