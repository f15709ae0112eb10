"""What ``pangu.scheduler`` and verl's own keys say of a run's scheduler.

Invariant: what cannot run is refused here, by key, before a worker starts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import WrongUse
from pangu_verl.plugins import load_plugins
from pangu_verl.queue.ledger_store import Durability
from pangu_verl.queue.priority import Priority
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import BoundController, StalenessPolicy

KEY = "pangu.scheduler"
MODES = ("pangu_ssp", "pangu_ssp_colocate")
_NUMBERS = ("window_groups", "lookahead_groups", "overtaking_groups", "wave_groups", "lease_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheduling:
    """All that a run's scheduler is made of. ``run_id`` is what its ledger belongs to.

    ``staleness_weight`` (above 0, up to 1) is what a token counts for each version of lag; ``log_prob_gap_alarm`` is in
    nats, None for none.
    """

    settings: SchedulerSettings
    policy: StalenessPolicy
    priority: Priority
    durability: Durability
    ledger: Path
    run_id: str
    staleness_weight: float
    log_prob_gap_alarm: float | None
    weights_checksum: bool
    controller: BoundController | None
    known_prompts: Path | None


def scheduling_of(config: DictConfig, parameter_sync_step: int) -> Scheduling:
    """From a composed configuration, with verl's steps between two publications. Raises ``WrongUse``."""
    found: Any = OmegaConf.to_container(OmegaConf.select(config, KEY), resolve=True)
    plugins = load_plugins()
    plugins.require()
    settings = SchedulerSettings(
        batch_groups=config.data.train_batch_size // parameter_sync_step,
        steps_per_version=parameter_sync_step,
        bound_versions=_whole(found, "bound_versions"),
        task_bounds=dict(found["task_bounds"]),
        task_shares=dict(found["task_shares"]),
        **{name: found[name] for name in _NUMBERS if found[name] is not None},
    )
    return Scheduling(
        settings=settings,
        policy=_policy(found["policy"], found["options"], plugins.staleness_policies),
        priority=Priority(list(plugins.priority_terms.values()), dict(found["priority"])),
        durability=_durability(found["durability"]),
        ledger=Path(found["ledger"] or "ledger.sqlite"),
        run_id=f"{config.trainer.project_name}/{config.trainer.experiment_name}",
        staleness_weight=_number(found, "staleness_weight", most=1.0) or 1.0,
        log_prob_gap_alarm=_number(found, "log_prob_gap_alarm"),
        weights_checksum=_flag(found, "weights_checksum"),
        known_prompts=_file(found, "known_prompts"),
        controller=_controller(found["controller"], found["controller_options"], plugins.bound_controllers),
    )


def _policy(name: str, options: Mapping[str, Any], known: Mapping[str, StalenessPolicy]) -> StalenessPolicy:
    if name not in known:
        raise WrongUse(f"{KEY}.policy={name} is no staleness policy (known: {', '.join(sorted(known))}); name one")
    policy: StalenessPolicy = _configured(known[name], options, f"{KEY}.options: the policy {name!r}")
    return policy


def _controller(
    name: str | None, options: Mapping[str, Any], known: Mapping[str, BoundController]
) -> BoundController | None:
    if name is None:
        return None
    if name not in known:
        raise WrongUse(f"{KEY}.controller={name} is no bound controller (known: {', '.join(sorted(known))}); name one")
    controller: BoundController = _configured(
        known[name], options, f"{KEY}.controller_options: the controller {name!r}"
    )
    return controller


def _configured(plain: Any, options: Mapping[str, Any], whose: str) -> Any:
    if not options:
        return plain
    if not hasattr(plain, "with_options"):
        raise WrongUse(f"{whose} takes none; leave them out")
    return plain.with_options(dict(options))


def _durability(name: object) -> Durability:
    try:
        return Durability[str(name)]
    except KeyError:
        raise WrongUse(f"{KEY}.durability is {' or '.join(each.name for each in Durability)}, not {name!r}") from None


def _number(found: Mapping[str, Any], name: str, *, most: float = math.inf) -> float | None:
    """Above 0, up to ``most``; None where nothing is set."""
    value = found[name]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value <= most or math.isinf(value):
        expected = "above 0" if math.isinf(most) else f"above 0 and up to {most:g}"
        raise WrongUse(f"{KEY}.{name} is a number {expected}, or null, not {value!r}; correct it")
    return float(value)


def _file(found: Mapping[str, Any], name: str) -> Path | None:
    if found[name] is None:
        return None
    file = Path(str(found[name]))
    if not file.is_file():
        raise WrongUse(f"{KEY}.{name}={file} is no file; name one that a checkpoint holds, or null")
    return file


def _flag(found: Mapping[str, Any], name: str) -> bool:
    value = found[name]
    if not isinstance(value, bool):
        raise WrongUse(f"{KEY}.{name} is true or false, not {value!r}")
    return value


def _whole(found: Mapping[str, Any], name: str) -> int:
    value = found[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongUse(f"{KEY}.{name} is a whole number, not {value!r}")
    return value
