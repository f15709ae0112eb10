"""What cannot run under our scheduler, named before anything starts.

Invariant: every complaint is a ``WrongUse`` of one line that names the key, what it is and what to set.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.scheduling.settings import KEY, Scheduling, scheduling_of

MODES = ("pangu_ssp", "pangu_ssp_colocate")
_LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"
_CORRECTION = "algorithm.rollout_correction"
#: Losses that take a mean over a whole sequence, which would no longer be the sequence's once tokens are left out.
_BY_SEQUENCE = ("gspo", "geo_mean")


def refuse_unfit(config: DictConfig) -> None:
    """Nothing to say of verl's own modes."""
    mode = config.trainer.v1.trainer_mode
    if mode not in MODES:
        return
    steps = int(_value(config, f"trainer.v1.{mode}.parameter_sync_step") or 1)
    if config.data.train_batch_size % steps:
        raise WrongUse(
            f"data.train_batch_size={config.data.train_batch_size} prompts do not divide among parameter_sync_step="
            f"{steps} steps between two publications; change one of them"
        )
    scheduling = scheduling_of(config, steps)
    if _value(config, f"trainer.v1.{mode}.hybrid_rollout.enable_switch"):
        raise WrongUse(
            "trainer.v1.separate_async.hybrid_rollout.enable_switch=true lends trainer devices to rollout by verl's "
            f"count of samples, which {mode} does not keep; set it to false"
        )
    if _value(config, "skip.rollout_tq.enable"):
        raise WrongUse(
            f"skip.rollout_tq.enable=true replays verl's own order of prompts, {mode} has its own; leave it out"
        )
    rollout = config.actor_rollout_ref.rollout
    if rollout.scheduling_policy == "priority" and rollout.agent.default_agent_loop == "tool_agent":
        raise WrongUse(
            "actor_rollout_ref.rollout.scheduling_policy=priority needs an agent loop that hands a request's priority "
            "on, and verl's tool_agent does not; take single_turn_agent, or scheduling_policy=fcfs"
        )
    _refuse_correction(config, scheduling)


def _refuse_correction(config: DictConfig, scheduling: Scheduling) -> None:
    bound = scheduling.settings.largest_bound_versions
    if bound and not config.actor_rollout_ref.rollout.calculate_log_probs:
        raise WrongUse(
            f"{KEY}.bound_versions={bound} trains on tokens of older policies, whose log-probabilities nobody keeps; "
            "set actor_rollout_ref.rollout.calculate_log_probs=true"
        )
    if not (bound and scheduling.policy.masks_tokens):
        return
    loss = _value(config, _LOSS)
    if loss in _BY_SEQUENCE:
        raise WrongUse(
            f"{_LOSS}={loss} weighs whole sequences and {KEY}.policy={scheduling.policy.name} leaves tokens out of "
            "them; choose a loss by token, or the policy wait or drop"
        )
    by_sequence = {
        "rollout_is": _value(config, f"{_CORRECTION}.rollout_is") == "sequence",
        "rollout_rs": str(_value(config, f"{_CORRECTION}.rollout_rs") or "").startswith("seq"),
    }
    for name in (name for name, is_so in by_sequence.items() if is_so):
        raise WrongUse(
            f"{_CORRECTION}.{name}={_value(config, f'{_CORRECTION}.{name}')} goes by whole sequences and {KEY}.policy="
            f"{scheduling.policy.name} leaves tokens out of them; correct by token, or take the policy wait or drop"
        )


def _value(config: DictConfig, key: str) -> Any:
    return OmegaConf.select(config, key)
