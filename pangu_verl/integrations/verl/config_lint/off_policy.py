"""Traps of training on data of an older policy: without the rollout's log-probabilities nothing corrects it."""

from __future__ import annotations

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

_CORRECTION = "algorithm.rollout_correction"
_LOG_PROBS = f"{ROLLOUT}.calculate_log_probs"


def bypass_without_log_probs(config: DictConfig, target: Target) -> Trap | None:
    """Bypass mode takes the rollout's log-probabilities for the old ones."""
    if not _bypasses(config) or value(config, _LOG_PROBS, False):
        return None
    return Trap(
        name="rollout_correction.bypass_mode",
        status="problem",
        found=f"{_CORRECTION}.bypass_mode=true with {_LOG_PROBS}=false: the first step looks for log-probabilities "
        "that no rollout has written",
        advice=f"set {_LOG_PROBS}=true, or {_CORRECTION}.bypass_mode=false",
        source=f"{VERL}, trainer/ppo/v1/trainer_base.py:1642; {UPSTREAM}/pull/6158",
    )


def correction_without_log_probs(config: DictConfig, target: Target) -> Trap | None:
    """verl leaves the correction out in silence where the rollout's log-probabilities are missing."""
    asked = [name for name in ("rollout_is", "rollout_rs") if value(config, f"{_CORRECTION}.{name}") is not None]
    if not asked or _bypasses(config) or value(config, _LOG_PROBS, False):
        return None
    return Trap(
        name="rollout_correction",
        status="problem",
        found=f"{_CORRECTION}.{' and '.join(asked)} with {_LOG_PROBS}=false: verl leaves the correction out in silence",
        advice=f"set {_LOG_PROBS}=true",
        source=f"{VERL}, trainer/ppo/v1/trainer_base.py:1767",
    )


def staleness_without_log_probs(config: DictConfig, target: Target) -> Trap | None:
    """``max_off_policy_*`` bounds how old a prompt is; it corrects nothing."""
    if trainer_mode(config) == "sync" or _bypasses(config) or value(config, _LOG_PROBS, False):
        return None
    sampler = "trainer.v1.sampler"
    threshold = value(config, f"{sampler}.max_off_policy_threshold")
    strategy = value(config, f"{sampler}.max_off_policy_strategy")
    return Trap(
        name="max_off_policy_threshold",
        status="warning",
        found=f"{sampler}.max_off_policy_threshold={threshold} ({strategy}) lets trajectories of older policies into "
        f"training, and with {_LOG_PROBS}=false their difference is neither corrected nor measured",
        advice=f"set {_LOG_PROBS}=true and choose {_CORRECTION}.rollout_is or {_CORRECTION}.bypass_mode",
        source=f"{VERL}, trainer/ppo/v1/trainer_base.py:1767",
    )


def _bypasses(config: DictConfig) -> bool:
    return bool(value(config, f"{_CORRECTION}.bypass_mode", False))


RULES: tuple[Rule, ...] = (bypass_without_log_probs, correction_without_log_probs, staleness_without_log_probs)
