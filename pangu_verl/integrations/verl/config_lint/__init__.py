"""Known traps over a composed configuration: settings that verl accepts and that fail later, or in silence.

    trap            ``Trap``: what a rule says; how rules read a configuration
    weights         how weights reach the rollout: checkpoint engines, bucket
    off_policy      log-probabilities that corrections of stale data need
    rewards         what goes round the reward manager, or breaks it
    ignored_keys    keys that verl's V1 trainer composes and does not read
    resources       Ray's logical processors
    hardware        what a CPU or an Ascend NPU cannot do

Invariants: each rule was checked against the source of verl 0.9.1 or a named upstream thread, and says which; a
configuration that a rule cannot read gives an "unknown", never an exception. verl's legacy keys are refused by
``configuration.compose``, and what does not divide by ``layout``: neither is repeated here.
"""

from __future__ import annotations

from omegaconf import DictConfig

from pangu_verl.errors import first_line
from pangu_verl.integrations.verl.config_lint import hardware, ignored_keys, off_policy, resources, rewards, weights
from pangu_verl.integrations.verl.config_lint.trap import Rule, Target, Trap

__all__ = ["RULES", "Rule", "Target", "Trap", "lint"]

RULES: tuple[Rule, ...] = (
    *weights.RULES,
    *off_policy.RULES,
    *rewards.RULES,
    *ignored_keys.RULES,
    *resources.RULES,
    *hardware.RULES,
)


def lint(config: DictConfig, target: Target) -> list[Trap]:
    """The traps that ``config`` walks into on ``target``."""
    return [trap for rule in RULES if (trap := _asked(rule, config, target)) is not None]


def _asked(rule: Rule, config: DictConfig, target: Target) -> Trap | None:
    try:
        return rule(config, target)
    except Exception as error:  # noqa: BLE001 - a strange value must not hide what the other rules find
        return Trap(
            name=rule.__name__,
            status="unknown",
            found=f"this rule cannot read the configuration: {type(error).__name__}: {first_line(error)}",
            advice="look for an override that puts a value in the place of a section",
            source=None,
        )
