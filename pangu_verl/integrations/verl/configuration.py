"""Composes a run's configuration from ours and verl's, and turns what Hydra says of a wrong key into one clear line.

Invariant: a backend's environment is set before verl is imported, because verl chooses its platform then; unknown keys
and verl's legacy keys, which verl ignores in silence, are errors that name the key to use.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pangu_verl.errors import WrongUse

CONFIG_PACKAGE = "pangu_verl.config"
BACKENDS = ("cpu", "cuda", "npu_fsdp", "npu_megatron")

#: Keys that verl's V1 trainer composes and never reads, and what replaces them.
LEGACY_SECTIONS = {
    "custom_reward_function": "reward.custom_reward_function",
    "reward_model": "reward.reward_model (or reward.num_workers, reward.reward_manager)",
    "sandbox_fusion": "reward.sandbox_fusion",
}
_REMOVED_KEYS = {"data.sampler": "trainer.v1.sampler.custom_sampler (order of training) or data.custom_cls (order of prompts)"}


def compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The resolved configuration ``config_name`` of our package with Hydra ``overrides``; raises ``WrongUse``."""
    _refuse_legacy_overrides(overrides)
    apply_backend_environment(_backend(overrides))
    try:
        with hydra.initialize_config_module(CONFIG_PACKAGE, version_base=None):
            config = hydra.compose(config_name, overrides=list(overrides))
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise WrongUse(_explain(error, config_name)) from error
    _refuse_legacy_values(config)
    return config


def apply_backend_environment(backend: str) -> None:
    """Set what a backend asks of the environment, in this process and (by inheritance) in Ray's workers."""
    source = files(CONFIG_PACKAGE) / "backend" / f"{backend}.yaml"
    if not source.is_file():
        raise WrongUse(f"unknown backend {backend!r} (known: {', '.join(BACKENDS)})")
    content = OmegaConf.create(source.read_text())
    variables = OmegaConf.select(content, "ray_kwargs.ray_init.runtime_env.env_vars") or {}
    for name, value in variables.items():
        os.environ.setdefault(str(name), str(value))


def _backend(overrides: Sequence[str]) -> str:
    named = [override.partition("=")[2] for override in overrides if override.startswith("backend=")]
    return named[-1] if named else "cpu"


def _refuse_legacy_overrides(overrides: Sequence[str]) -> None:
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        section = key.partition(".")[0]
        replacement = LEGACY_SECTIONS.get(section) or _REMOVED_KEYS.get(key)
        if replacement:
            raise WrongUse(f"config key {key!r} is not read by verl's V1 trainer; use {replacement}")


def _refuse_legacy_values(config: DictConfig) -> None:
    for section, replacement in LEGACY_SECTIONS.items():
        for key, value in _leaves(config.get(section), section):
            if value is not None:
                raise WrongUse(f"config key {key!r} is not read by verl's V1 trainer; use {replacement}")


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if OmegaConf.is_dict(node):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif node is not None:
        yield prefix, node


def _explain(error: Exception, config_name: str) -> str:
    """Hydra's first line, and for an unknown key the nearest that exists."""
    text = str(error).strip()
    first = text.splitlines()[0]
    if "Could not override" not in first:
        return first
    key = first.split("'")[1]
    with hydra.initialize_config_module(CONFIG_PACKAGE, version_base=None):
        known = [name for name, _ in _all_keys(hydra.compose(config_name), "")]
    near = difflib.get_close_matches(key, known, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(repr(name) for name in near)}?" if near else "see pangu-verl train --dry-run"
    return f"unknown config key {key!r}; {hint} (a new key is written +{key}=...)"


def _all_keys(node: DictConfig, prefix: str) -> Iterator[tuple[str, None]]:
    for key in node:
        name = f"{prefix}.{key}" if prefix else str(key)
        yield name, None
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _all_keys(child, name)
