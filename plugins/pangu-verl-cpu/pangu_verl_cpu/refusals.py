"""What the CPU rollout cannot do, refused by the name of its config key before anything starts."""

from __future__ import annotations

from typing import Any


def refuse_unsupported(rollout: Any, model: Any) -> None:
    """Raise ``ValueError`` for the first key that asks for what the CPU rollout does not have."""
    wishes = {
        "rollout.tensor_model_parallel_size": (rollout.tensor_model_parallel_size, 1),
        "rollout.data_parallel_size": (rollout.data_parallel_size, 1),
        "rollout.pipeline_model_parallel_size": (rollout.pipeline_model_parallel_size, 1),
        "rollout.multi_turn.enable": (bool(rollout.multi_turn.enable), False),
        "rollout.disaggregation.enabled": (bool(rollout.disaggregation.enabled), False),
        "model.lora_rank": (int(model.get("lora_rank", 0) or 0), 0),
    }
    for key, (given, possible) in wishes.items():
        if given != possible:
            raise ValueError(
                f"the CPU rollout needs actor_rollout_ref.{key}={possible}, got {given}; use another backend for it"
            )
