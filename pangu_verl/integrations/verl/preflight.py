"""Looks at what a run was given before anything starts: model, backend, rows, reward, ports, arithmetic.

Invariant: every complaint is one line that names the thing, what was expected, what came and what to do. What lies
behind an address ("hdfs://...") or is read by the user's own dataset class is left to verl.
"""

from __future__ import annotations

import importlib
import json
import socket
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import WrongUse, first_line
from pangu_verl.integrations.verl.configuration import whole_number
from pangu_verl.integrations.verl.layout import Layout, is_separate, layout_of
from pangu_verl.integrations.verl.pool_rewards import users_function
from pangu_verl.integrations.verl.scheduling.refusals import refuse_unfit
from pangu_verl.integrations.verl.shared_state import settings_of
from pangu_verl.integrations.verl.training_rows import check_rows
from pangu_verl.integrations.verl.zero_advantages import refuse_unfit_mask
from pangu_verl.plugins import load_plugins

_HIGHEST_PORT = 65_535


def check(config: DictConfig) -> Layout:
    """The layout of a run that can start; raises ``WrongUse`` for the first thing that cannot work."""
    _check_model(config.actor_rollout_ref.model)
    _check_mode(config)
    refuse_unfit(config)
    refuse_unfit_mask(config)
    _check_backend(config)
    check_rows(config, _abilities(config))
    _check_reward(config.reward.custom_reward_function)
    _check_ports(config)
    layout = layout_of(config)
    _check_by_verl(config)
    return layout


def _check_model(model: Any) -> None:
    key, name = "actor_rollout_ref.model.path", str(model.path or "")
    if not name:
        raise WrongUse(f"{key} is not set; name a Hugging Face model folder")
    if "://" in name:
        return
    path = Path(name).expanduser()
    looks_local = path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise WrongUse(f"{key}: {path} has no config.json; name a Hugging Face model folder")
        try:
            sound = isinstance(json.loads((path / "config.json").read_bytes()), dict)
        except ValueError:
            sound = False
        if not sound:
            raise WrongUse(f"{key}: {path / 'config.json'} holds no JSON object; fetch the model anew")
    elif path.exists() or looks_local:
        raise WrongUse(f"{key}: there is no model folder {name}; check the path")


def _check_mode(config: DictConfig) -> None:
    if is_separate(config) and not config.actor_rollout_ref.hybrid_engine:
        raise WrongUse(
            "actor_rollout_ref.hybrid_engine=false does not start in trainer_mode separate_async of verl 0.9.1 "
            "(it logs with an unknown argument); leave hybrid_engine=true"
        )


def _check_backend(config: DictConfig) -> None:
    """Ask the backend's own module, which the configuration names, what it cannot do."""
    library = config.actor_rollout_ref.model.external_lib
    if not isinstance(library, str):
        return
    try:
        module = importlib.import_module(library)
    except Exception as error:
        raise WrongUse(
            f"actor_rollout_ref.model.external_lib={library} cannot be imported: {type(error).__name__}: "
            f"{first_line(error)}; install it or correct the name"
        ) from error
    if (refuse := getattr(module, "refuse_configuration", None)) is not None:
        try:
            refuse(config)
        except (OSError, ValueError) as error:
            raise WrongUse(first_line(error)) from error


def _abilities(config: DictConfig) -> set[str] | None:
    """What the plugins' reward sources judge; None where the user's own function judges all."""
    plugins = load_plugins()
    plugins.require()
    settings = settings_of(config)
    settings.state()
    settings.chosen_terms(plugins.auxiliary_terms)
    ladders = settings.ladders(plugins.reward_sources)
    return None if users_function(config) else set(ladders)


def _check_reward(custom: Any) -> None:
    if not custom.path:
        return
    from verl.utils.import_utils import load_extern_object

    name = f"reward.custom_reward_function {custom.path}:{custom.name}"
    try:
        function = load_extern_object(custom.path, custom.name)
    except (Exception, SystemExit) as error:
        cause = error.__cause__ or error
        raise WrongUse(
            f"{name} cannot be imported: {type(cause).__name__}: {first_line(cause)}; correct the file or the name"
        ) from error
    if not callable(function):
        raise WrongUse(f"{name} is a {type(function).__name__}, expected a function; name one of that file")


def _check_ports(config: DictConfig) -> None:
    port_by_switch = {
        "ray_kwargs.ray_init.include_dashboard": "ray_kwargs.ray_init.dashboard_port",
        "actor_rollout_ref.rollout.prometheus.enable": "actor_rollout_ref.rollout.prometheus.port",
    }
    for switch, key in port_by_switch.items():
        if not OmegaConf.select(config, switch) or OmegaConf.select(config, key) is None:
            continue
        port = whole_number(config, key)
        if port > _HIGHEST_PORT:
            raise WrongUse(f"{key}: there is no port {port}; name one of 1 to {_HIGHEST_PORT}")
        if not _is_free(port):
            raise WrongUse(f"{key}: port {port} is in use; name another or end the program that holds it")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _check_by_verl(config: DictConfig) -> None:
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    try:
        validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    except (AssertionError, HydraException, TypeError, ValueError) as error:
        cause = (isinstance(error, HydraException) and error.__cause__) or error
        raise WrongUse(f"verl refuses the configuration: {first_line(cause)}") from error
