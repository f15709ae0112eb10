"""What cannot run under our scheduler, named before anything starts.

Invariant: every complaint is a ``WrongUse`` of one line that names the key, what it is and what to set.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.scheduling.settings import KEY, MODES, Scheduling, scheduling_of

_AGENT_LOOPS = "actor_rollout_ref.rollout.agent.agent_loop_manager_class"
_LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"
_CORRECTION = "algorithm.rollout_correction"
_BYPASS = f"{_CORRECTION}.bypass_mode"
#: Losses that take a mean over a whole sequence, which would no longer be the sequence's once tokens are left out.
_BY_SEQUENCE = ("gspo", "geo_mean")
#: Switches of verl whose effect would be missing or wrong, and why.
_LEFT_OUT = {
    "trainer.v1.separate_async.hybrid_rollout.enable_switch": "lends devices by a count of samples that nobody keeps",
    "skip.rollout_tq.enable": "replays verl's own order of prompts, which is not kept",
    "algorithm.filter_groups.enable": "filters in verl's own buffer, which is not used",
    "trainer.v1.sampler.sync_refill_failed_groups": "refills in verl's own buffer, which is not used",
    "actor_rollout_ref.rollout.full_determinism": "gives requests one name, by which their versions are noted,",
}


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
    if mode == "pangu_ssp_colocate" and steps > 1:
        raise WrongUse(
            f"trainer.v1.{mode}.parameter_sync_step={steps}: servers on the trainer's devices sleep until weights are "
            "published, so a second step would wait for them for ever; leave it at 1"
        )
    scheduling = scheduling_of(config, steps)
    for key, reason in _LEFT_OUT.items():
        if _value(config, key):
            raise WrongUse(f"{key}=true {reason} in the mode {mode}; set it to false")
    rollout = config.actor_rollout_ref.rollout
    if rollout.scheduling_policy == "priority" and rollout.agent.default_agent_loop == "tool_agent":
        raise WrongUse(
            "actor_rollout_ref.rollout.scheduling_policy=priority needs an agent loop that hands a request's priority "
            "on, and verl's tool_agent does not; take single_turn_agent, or scheduling_policy=fcfs"
        )
    _refuse_agent_loops(config)
    _refuse_correction(config, scheduling)
    _refuse_alarm(config, scheduling)


def _refuse_agent_loops(config: DictConfig) -> None:
    if not (name := _value(config, _AGENT_LOOPS)):
        return
    from verl.utils.import_utils import load_class_from_fqn

    from pangu_verl.integrations.verl.scheduling.rollout.agent_loops import ScheduledAgentLoops

    if not issubclass(load_class_from_fqn(name, "AgentLoopManager"), ScheduledAgentLoops):
        raise WrongUse(
            f"{_AGENT_LOOPS}={name} tells nobody when a session has ended, and cannot give one up; derive it from "
            f"{ScheduledAgentLoops.__module__}.{ScheduledAgentLoops.__name__}, or leave it out"
        )


def _refuse_alarm(config: DictConfig, scheduling: Scheduling) -> None:
    if scheduling.log_prob_gap_alarm is None:
        return
    alarm = f"{KEY}.log_prob_gap_alarm={scheduling.log_prob_gap_alarm:g}"
    if _value(config, _BYPASS):
        raise WrongUse(
            f"{alarm} compares the trainer's log-probabilities with the rollout's, and with {_BYPASS}=true the trainer "
            "computes none before a step; set it to false, or the alarm to null"
        )
    if not config.actor_rollout_ref.rollout.calculate_log_probs:
        raise WrongUse(
            f"{alarm} compares the trainer's log-probabilities with the rollout's, which nobody keeps; set "
            "actor_rollout_ref.rollout.calculate_log_probs=true, or the alarm to null"
        )


def _refuse_correction(config: DictConfig, scheduling: Scheduling) -> None:
    bound, controller = scheduling.settings.largest_bound_versions, scheduling.controller
    if not bound and scheduling.policy.masks_tokens:
        raise WrongUse(
            f"{KEY}.bound_versions=0 with the policy {scheduling.policy.name} would leave out all that is made while a "
            "step trains; take the policy wait"
        )
    if scheduling.policy.masks_tokens and getattr(controller, "least_bound_versions", 1) < 1:
        raise WrongUse(
            f"{KEY}.controller_options.least_bound_versions=0 with the policy {scheduling.policy.name} would leave out "
            "all that is made while a step trains; set it to 1"
        )
    keeps_log_probs = config.actor_rollout_ref.rollout.calculate_log_probs
    if (bound or controller is not None) and not keeps_log_probs:
        reason = f"controller={controller.name}" if controller and not bound else f"bound_versions={bound}"
        raise WrongUse(
            f"{KEY}.{reason} trains on tokens of older policies, whose log-probabilities nobody keeps; set "
            "actor_rollout_ref.rollout.calculate_log_probs=true"
        )
    if scheduling.policy.masks_tokens:
        _refuse_by_sequence(config, scheduling)
    unread = [name for name in ("rollout_is", "rollout_rs") if _value(config, f"{_CORRECTION}.{name}") is not None]
    if unread and _value(config, _BYPASS):
        raise WrongUse(
            f"{_CORRECTION}.{unread[0]}={_value(config, f'{_CORRECTION}.{unread[0]}')} has no effect with "
            f"{_BYPASS}=true, where verl's V1 trainer corrects by the clipped ratio alone; set it to false, or take "
            f"{KEY}.correction=token_is"
        )


def _refuse_by_sequence(config: DictConfig, scheduling: Scheduling) -> None:
    """Where the policy leaves tokens out of a sequence."""
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
    preset = _value(config, f"{KEY}.correction")
    origin = f" (of {KEY}.correction={preset})" if preset else ""
    for name in (name for name, is_so in by_sequence.items() if is_so):
        raise WrongUse(
            f"{_CORRECTION}.{name}={_value(config, f'{_CORRECTION}.{name}')}{origin} goes by whole sequences and "
            f"{KEY}.policy={scheduling.policy.name} leaves tokens out of them; correct by token, or take the policy "
            "wait or drop"
        )


def _value(config: DictConfig, key: str) -> Any:
    return OmegaConf.select(config, key)
