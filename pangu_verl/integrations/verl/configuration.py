"""Composes a run's configuration from ours and verl's, and turns what Hydra says of a wrong key into one clear line.

Invariant: a backend's environment is set before verl is imported, because verl chooses its platform then; unknown keys
and verl's legacy keys, which verl ignores in silence, are errors that name the key to use.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from pangu_verl.errors import WrongUse, first_line
from pangu_verl.integrations.verl.scheduling.loss.corrections import apply_correction

CONFIG_PACKAGE = "pangu_verl.config"
CONFIGURATIONS = ("ppo", "quickstart", "quickstart_tiny")
BACKENDS = ("cpu", "cuda", "cuda_megatron", "npu_fsdp", "npu_megatron")

#: Keys that verl's V1 trainer composes and never reads (or no longer has), and what replaces them.
LEGACY_KEYS = {
    "custom_reward_function": "reward.custom_reward_function",
    "reward_model": "reward.reward_model (or reward.num_workers, reward.reward_manager)",
    "sandbox_fusion": "reward.sandbox_fusion",
    "data.sampler": "trainer.v1.sampler.custom_sampler (order of training) or data.custom_cls (order of prompts)",
}
#: Stands for no value; null is one.
UNSET = object()
#: What the rest of this room reads from, so that nobody may put a value in its place.
_SECTIONS = (
    "actor_rollout_ref.actor",
    "actor_rollout_ref.model",
    "actor_rollout_ref.rollout",
    "data.custom_cls",
    "ray_kwargs",
    "reward.custom_reward_function",
    "trainer.v1",
)
_ENVIRONMENT = "ray_kwargs.ray_init.runtime_env.env_vars"
#: Of the variables that choose plugins and of those that set them up, such as PANGU_VERL_JUDGE_ENDPOINT.
_PREFIX = "PANGU_VERL_"


def compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The resolved configuration ``config_name`` of our package with Hydra ``overrides``; raises ``WrongUse``."""
    config_name = config_name.removesuffix(".yaml")
    if config_name not in CONFIGURATIONS:
        raise WrongUse(f"unknown configuration {config_name!r} (known: {', '.join(CONFIGURATIONS)})")
    parsed = [_parse(override) for override in overrides]
    for override in parsed:
        _refuse_legacy_key(override.key_or_group)
    backend = _backend(parsed)
    asked = apply_backend_environment(backend)
    try:
        config = _composed(config_name, overrides)
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise WrongUse(_explain(error, config_name, overrides, backend)) from error
    _refuse_misuse(config)
    apply_correction(config, lambda key: any(overridden(override, key) is not UNSET for override in parsed))
    _keep_user_environment(config, asked)
    _forward_plugin_settings(config)
    return config


def apply_backend_environment(backend: str) -> Mapping[str, str]:
    """Set what a backend asks of the environment, unless the user has set it; returns what it asks."""
    if backend not in BACKENDS:
        raise WrongUse(f"unknown backend {backend!r} (known: {', '.join(BACKENDS)})")
    content = OmegaConf.create((files(CONFIG_PACKAGE) / "backend" / f"{backend}.yaml").read_text())
    asked = {str(name): str(value) for name, value in (OmegaConf.select(content, _ENVIRONMENT) or {}).items()}
    for name, value in asked.items():
        os.environ.setdefault(name, value)
    return asked


def overridden(override: Override, key: str) -> Any:
    """What ``override`` sets ``key`` to, or a section above it as a whole; ``UNSET`` if it says nothing of it."""
    above = str(override.key_or_group)
    if override.is_delete() or not f"{key}.".startswith(f"{above}."):
        return UNSET
    node = override.value()
    for name in key.removeprefix(above).split(".")[1:]:
        if isinstance(node, dict):
            if name not in node:
                return UNSET
            node = node[name]
    return node


def whole_number(config: DictConfig, key: str) -> int:
    """The value of ``key``, which has to be a whole number of at least 1."""
    value = OmegaConf.select(config, key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise WrongUse(f"{key} takes a whole number of at least 1, got {value!r}; set {key}=...")
    return value


def _composed(config_name: str, overrides: Sequence[str]) -> DictConfig:
    with hydra.initialize_config_module(CONFIG_PACKAGE, version_base=None):
        return hydra.compose(config_name, overrides=list(overrides))


def _parse(text: str) -> Override:
    if "=" not in text and not text.startswith("~"):
        raise WrongUse(f"override {text!r} has no value; write key=value")
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise WrongUse(
            f"override {text!r} is malformed ({first_line(error)}); write key=value, and quote a value that holds "
            "brackets, commas or quotes, in a shell: 'key=\"a,b\"'"
        ) from error
    if not override.key_or_group:
        raise WrongUse(f"override {text!r} has no key; write key=value")
    if override.is_sweep_override():
        raise WrongUse(
            f"override {text!r} names several values and a run takes one; write a list as key=[a,b], and quote a text "
            "that holds commas, in a shell: 'key=\"a,b\"'"
        )
    return override


def _backend(overrides: Sequence[Override]) -> str:
    named = [override for override in overrides if override.key_or_group == "backend"]
    if any(override.is_add() or override.is_force_add() for override in named):
        raise WrongUse("backend is chosen already; write backend=... without the +")
    return str(named[-1].value()) if named else "cpu"


def _refuse_legacy_key(key: str) -> None:
    if (complaint := explain_legacy_key(key)) is not None:
        raise WrongUse(complaint)


def explain_legacy_key(key: str) -> str | None:
    """What to use in the place of ``key``; None if it is no legacy key."""
    for legacy, replacement in LEGACY_KEYS.items():
        if key == legacy or key.startswith(f"{legacy}."):
            return f"config key {key!r} is not read by verl's V1 trainer; use {replacement}"
    return None


def _refuse_misuse(config: DictConfig) -> None:
    for section in _SECTIONS:
        if not OmegaConf.is_dict(_found(config, section)):
            raise WrongUse(f"an override removes config section {section!r}; set its keys: {section}.<key>=...")
    for legacy in LEGACY_KEYS:
        for key, value in _leaves(_found(config, legacy), legacy):
            if value is not None:
                _refuse_legacy_key(key)
    if not config.trainer.use_v1:
        raise WrongUse("trainer.use_v1=false asks for verl's legacy trainer, pangu_verl runs V1; leave the key out")


def _found(config: DictConfig, key: str) -> Any:
    """The node at ``key``; None where a value stands in the place of a section above it."""
    node: Any = config
    for name in key.split("."):
        node = node.get(name) if OmegaConf.is_dict(node) else None
    return node


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if OmegaConf.is_dict(node):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}")
    else:
        yield prefix, node


def _keep_user_environment(config: DictConfig, asked: Mapping[str, str]) -> None:
    """Ray would put a backend's variables over those that its workers inherit; an override of one still wins."""
    variables = OmegaConf.select(config, _ENVIRONMENT) or {}
    for name, value in asked.items():
        if variables.get(name) == value:
            variables[name] = os.environ[name]


def _forward_plugin_settings(config: DictConfig) -> None:
    """Workers on other nodes do not inherit this process's environment. Secrets have no name with our prefix."""
    for name in sorted(os.environ):
        if name.startswith(_PREFIX):
            OmegaConf.update(config, f"{_ENVIRONMENT}.{name}", os.environ[name], force_add=True)


def _explain(error: Exception, config_name: str, overrides: Sequence[str], backend: str) -> str:
    """What Hydra or OmegaConf complains of in one line, with what to do about it."""
    first = first_line(error)
    quoted = first.split("'")[1] if first.count("'") > 1 else ""
    if first.startswith(("Could not override", "Could not delete")):
        full_key = str(getattr(error.__cause__, "full_key", ""))
        key = full_key if full_key.startswith(quoted) else quoted
        if (complaint := explain_legacy_key(key)) is not None:
            return complaint
        known = _composed(config_name, [f"backend={backend}"])
        return f"{explain_unknown_key(key, known)} (a new key is written +{key}=...)"
    if first.startswith("Could not append"):
        return f"config key {quoted!r} exists already; write {quoted}=... without the +"
    if isinstance(error, MissingConfigException) and error.options:
        return f"{first.rstrip('.')}; available: {', '.join(sorted(error.options))}"
    culprits = [override for override in overrides if "${" in override]
    if isinstance(error, InterpolationResolutionError) and culprits:
        return f"override {culprits[0]!r}: {first}; name a key that exists"
    return f"{first} ({first_line(error.__cause__)})" if error.__cause__ else first


def explain_unknown_key(key: str, config: DictConfig) -> str:
    """One line that names ``key`` and the keys of ``config`` nearest to it."""
    known = list(_all_keys(config, ""))
    last = key.rpartition(".")[2]
    near = difflib.get_close_matches(key, known, n=2, cutoff=0.6)
    near = near or [name for name in known if name.rpartition(".")[2] == last][:2]
    if near:
        hint = f"did you mean {' or '.join(repr(name) for name in near)}?"
    else:
        hint = f"the sections are {', '.join(name for name in known if '.' not in name and name not in LEGACY_KEYS)}"
    return f"unknown config key {key!r}; {hint}"


def _all_keys(node: DictConfig, prefix: str) -> Iterator[str]:
    for key in node:
        name = f"{prefix}{key!s}"
        yield name
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _all_keys(child, f"{name}.")
