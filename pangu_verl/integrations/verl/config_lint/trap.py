"""What a rule of the config lint says, and how rules read a configuration.

A rule is a function of the composed configuration and the target. It returns a ``Trap``, or None where it does not
apply. Rules look at keys, the environment and the model's ``config.json``; none starts a process or imports verl.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

#: The hardware that a configuration is meant for.
Target = Literal["cpu", "cuda", "npu"]

ROLLOUT = "actor_rollout_ref.rollout"
UPSTREAM = "https://github.com/verl-project/verl"
VERL = "verl 0.9.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trap:
    """A setting that composes and does not do what it says. ``source`` is an upstream thread or a file and line."""

    name: str
    status: Literal["warning", "problem", "unknown"]
    found: str
    advice: str
    source: str | None


Rule = Callable[[DictConfig, Target], Trap | None]


def value(config: DictConfig, key: str, default: Any = None) -> Any:
    """The value at ``key``; ``default`` where the configuration does not have it."""
    return OmegaConf.select(config, key, default=default)


def variable(config: DictConfig, name: str) -> str:
    """An environment variable as Ray's workers will see it: the configuration's, else this process's, else empty."""
    given = (value(config, "ray_kwargs.ray_init.runtime_env.env_vars") or {}).get(name)
    return os.environ.get(name, "") if given is None else str(given)


def trainer_mode(config: DictConfig) -> str:
    """``sync``, ``colocate_async``, ``separate_async`` or a mode that a plugin registers."""
    return str(value(config, "trainer.v1.trainer_mode", "sync"))
