"""Named sets of verl's own keys for training on tokens of older policies: ``pangu.scheduler.correction``.

Invariant: a preset writes ``algorithm.rollout_correction`` and nothing else, so what it does is verl's; where the user
set one of these keys to something else, the run is refused. Without a preset verl's keys stay as they are, which in our
configurations is the same as ``clip``. Which of them learns best has not been measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.scheduling.settings import KEY, MODES

SECTION = "algorithm.rollout_correction"
CORRECTION = f"{KEY}.correction"
_OFF: Mapping[str, Any] = {
    "rollout_is": None,
    "rollout_is_threshold": 2.0,
    "rollout_rs": None,
    "rollout_rs_threshold": None,
    "bypass_mode": False,
    "loss_type": "ppo_clip",
}
#: The values are verl's own (``RolloutCorrectionConfig.bypass_ppo_clip``, ``decoupled_token_is``,
#: ``decoupled_token_icepop``, ``decoupled_seq_is``).
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # PPO's ratio is taken to the rollout's log-probabilities and clipped: token by token, no second forward pass.
    "clip": {**_OFF, "bypass_mode": True},
    # PPO's ratio is taken to the policy before the step; its ratio to the rollout's weighs each token, cut off at 2.
    "token_is": {**_OFF, "rollout_is": "token"},
    # The same, with a weight of 0 outside 0.5 to 5: such tokens teach nothing.
    "token_icepop": {**_OFF, "rollout_is": "token", "rollout_is_threshold": "0.5_5.0"},
    # One weight for a whole response: unbiased, of high variance, and for policies that leave no token out.
    "sequence_is": {**_OFF, "rollout_is": "sequence"},
}


def apply_correction(config: DictConfig, is_set_by_user: Callable[[str], bool]) -> None:
    """Write the preset that ``config`` names into it. Raises ``WrongUse`` for one that is unknown or conflicts."""
    for key, value in preset_keys(config).items():
        current = OmegaConf.select(config, key)
        if is_set_by_user(key) and current != value:
            name = OmegaConf.select(config, CORRECTION)
            raise WrongUse(
                f"{key}={_shown(current)} conflicts with {CORRECTION}={name}, which sets it to {_shown(value)}; leave "
                f"one of them out ({CORRECTION}=null leaves verl's keys to you)"
            )
        OmegaConf.update(config, key, value)


def preset_keys(config: DictConfig) -> dict[str, Any]:
    """What the named preset sets, by full key; nothing without one, or in verl's own modes."""
    name = OmegaConf.select(config, CORRECTION)
    if name is None or config.trainer.v1.trainer_mode not in MODES:
        return {}
    if name not in PRESETS:
        raise WrongUse(f"{CORRECTION}={name} is no preset (known: {', '.join(PRESETS)}); name one, or null")
    return {f"{SECTION}.{key}": value for key, value in PRESETS[name].items()}


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
