"""What pangu_verl uses of verl, checked by looking for it rather than by version alone.

Invariant: a verl that lacks a feature is refused with the feature's name before any work starts.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from pangu_verl.errors import WrongUse


@dataclass(frozen=True, slots=True)
class Feature:
    """A name in verl and what it is needed for."""

    module: str
    attribute: str
    purpose: str


FEATURES = (
    Feature("verl.trainer.main_ppo", "run_ppo", "starting a run"),
    Feature("verl.trainer.main_ppo", "TaskRunnerV1", "the V1 trainer"),
    Feature("verl.trainer.ppo.v1", "get_trainer_cls", "choosing a trainer by name"),
    Feature("verl.trainer.ppo.v1.trainer_base", "PPOTrainer.prepare_step", "admission before each step"),
    Feature("verl.trainer.ppo.v1.replay_buffer", "ReplayBufferAsync.wait_for_sampleable", "selection from the queue"),
    Feature("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._build_replay_buffer", "filtering by judged members"),
    Feature("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._compute_advantage", "advantages of judged members"),
    Feature("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._compute_metrics", "metrics of rewards"),
    Feature("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._load_checkpoint", "the state of rewards on resuming"),
    Feature("verl.trainer.ppo.v1.trainer_base", "PPOTrainer._val_metrics_update", "validation means of judged rows"),
    Feature("verl.trainer.ppo.v1.replay_buffer", "ReplayBuffer._dapo_filtered_keys", "filtering by judged members"),
    Feature("verl.experimental.reward_loop.reward_manager.base", "RewardManagerBase.run_single", "rewards"),
    Feature("verl.workers.rollout.replica", "RolloutReplicaRegistry.register", "rollout servers"),
    Feature("verl.checkpoint_engine", "CheckpointEngineRegistry.register", "weight transport"),
    Feature("verl.utils.config", "validate_config", "verl's own config checks"),
)


def missing_features() -> list[Feature]:
    """The features that the installed verl lacks."""
    return [feature for feature in FEATURES if not _has(feature)]


def require_features() -> None:
    """Raise ``WrongUse`` naming what the installed verl lacks."""
    if missing := missing_features():
        named = "; ".join(f"{f.module}.{f.attribute} (for {f.purpose})" for f in missing)
        raise WrongUse(f"the installed verl lacks {named}; pangu_verl needs verl>=0.9.1,<0.10")


def _has(feature: Feature) -> bool:
    try:
        value: Any = importlib.import_module(feature.module)
    except ImportError:
        return False
    for name in feature.attribute.split("."):
        value = getattr(value, name, None)
    return value is not None
