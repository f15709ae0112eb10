"""Keys that compose, and that verl's V1 trainer does not read."""

from __future__ import annotations

from omegaconf import DictConfig

from pangu_verl.integrations.verl.config_lint.trap import ROLLOUT, VERL, Rule, Target, Trap, value

_SAMPLER = "trainer.v1.sampler"


def filtering_with_a_sampler(config: DictConfig, target: Target) -> Trap | None:
    """verl leaves filtering and refilling to a sampler of the user's own, and does not tell it what was asked for."""
    asked = [
        key
        for key in ("algorithm.filter_groups.enable", f"{_SAMPLER}.sync_refill_failed_groups")
        if value(config, key, False)
    ]
    custom = value(config, f"{_SAMPLER}.custom_sampler")
    if not asked or not custom or not custom.get("path") or not custom.get("name"):
        return None
    return Trap(
        name="custom_sampler",
        status="problem",
        found=f"{' and '.join(asked)} with {_SAMPLER}.custom_sampler.name={custom.name}: verl does not tell a custom "
        "sampler of it, and nothing is filtered or refilled",
        advice=f"set {_SAMPLER}.custom_sampler.path=null, which leaves verl's own sampler, or drop the key",
        source=f"{VERL}, trainer/ppo/v1/trainer_base.py:165",
    )


def checkpoint_manager_class(config: DictConfig, target: Target) -> Trap | None:
    """Only the legacy trainers load it."""
    if not value(config, f"{ROLLOUT}.checkpoint_manager_class"):
        return None
    return Trap(
        name="checkpoint_manager_class",
        status="problem",
        found=f"{ROLLOUT}.checkpoint_manager_class is set, and the V1 trainer does not read it",
        advice=f"use {ROLLOUT}.checkpoint_engine.backend with custom_backend_module",
        source=f"{VERL}, trainer/ppo/ray_trainer.py:969",
    )


def elastic_instance(config: DictConfig, target: Target) -> Trap | None:
    """Saving before an elastic instance expires is a feature of the legacy trainers."""
    if not value(config, "trainer.esi_redundant_time", 0):
        return None
    return Trap(
        name="esi_redundant_time",
        status="warning",
        found=f"trainer.esi_redundant_time={value(config, 'trainer.esi_redundant_time')}: the V1 trainer saves no "
        "checkpoint before an elastic instance expires",
        advice="save often enough with trainer.save_freq",
        source=f"{VERL}, trainer/ppo/ray_trainer.py:1693",
    )


RULES: tuple[Rule, ...] = (filtering_with_a_sampler, checkpoint_manager_class, elastic_instance)
