"""Traps of rewards: what goes round the configured reward manager, or breaks it."""

from __future__ import annotations

from omegaconf import DictConfig

from pangu_verl.integrations.verl.config_lint.trap import UPSTREAM, VERL, Rule, Target, Trap, value
from pangu_verl.integrations.verl.pool_rewards import PATH

_MODEL = "reward.reward_model"
_POOL = f"{_MODEL}.enable_resource_pool"
_FUNCTION = "reward.custom_reward_function.path"


def reward_model_alone(config: DictConfig, target: Target) -> Trap | None:
    """Without a function of the user's own, verl takes a reward model for the only judge."""
    if not value(config, f"{_MODEL}.enable", False) or value(config, _FUNCTION) is not None:
        return None
    if value(config, _POOL, False):
        return Trap(
            name="reward_model.enable",
            status="problem",
            found=f"{_MODEL}.enable=true on a resource pool of its own without {_FUNCTION}: the score comes without "
            "the key reward_extra_info that the agent loop reads, and the first trajectory ends in a KeyError",
            advice=f"set {_FUNCTION} to a function that asks the model, or to {PATH} for our own sources",
            source=f"{UPSTREAM}/issues/7368; {VERL}, experimental/agent_loop/agent_loop.py:1028",
        )
    return Trap(
        name="reward_model.enable",
        status="warning",
        found=f"{_MODEL}.enable=true without {_FUNCTION}: verl asks the model alone, and the reward manager "
        f"{value(config, 'reward.reward_manager.name')} is never called",
        advice=f"set {_FUNCTION} to a function that asks the model at reward_router_address, or {_POOL}=true and "
        f"{_FUNCTION}={PATH} for our own sources",
        source=f"{VERL}, experimental/reward_loop/reward_loop.py:145; {UPSTREAM}/pull/4358",
    )


def pool_on_the_trainers_devices(config: DictConfig, target: Target) -> Trap | None:
    """Our sources need a row's ability and gold answer."""
    if not value(config, f"{_MODEL}.enable", False) or value(config, _POOL, False) or value(config, _FUNCTION) != PATH:
        return None
    return Trap(
        name="reward_model.enable_resource_pool",
        status="problem",
        found=f"{_MODEL}.enable=true on the trainer's devices: verl then hands rewards the prompt and the response "
        "alone, without ability and ground truth",
        advice=f"set {_POOL}=true",
        source=f"{VERL}, trainer/ppo/v1/trainer_base.py:1534",
    )


def rate_limit_per_process(config: DictConfig, target: Target) -> Trap | None:
    """The limiters are attributes of a class, and each reward worker is a process."""
    workers = value(config, "reward.num_workers", 1)
    if value(config, "reward.reward_manager.name") != "rate_limited" or workers <= 1:
        return None
    return Trap(
        name="reward_manager.rate_limited",
        status="warning",
        found=f"the limits of the reward manager rate_limited hold in each of reward.num_workers={workers} processes, "
        f"so the service sees up to {workers} times as many requests",
        advice=f"set reward.num_workers=1, or divide the limits by {workers}",
        source=f"{VERL}, experimental/reward_loop/reward_manager/limited.py:254",
    )


RULES: tuple[Rule, ...] = (reward_model_alone, pool_on_the_trainers_devices, rate_limit_per_process)
