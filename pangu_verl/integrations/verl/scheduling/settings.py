"""What ``pangu.scheduler`` and verl's own keys say of a run's scheduler.

Invariant: what cannot run is refused here, by key, before a worker starts.
"""

from __future__ import annotations

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
from pangu_verl.types import StalenessPolicy

KEY = "pangu.scheduler"
_NUMBERS = ("window_groups", "lookahead_groups", "overtaking_groups")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheduling:
    """All that a run's scheduler is made of. ``run_id`` is what its ledger belongs to."""

    settings: SchedulerSettings
    policy: StalenessPolicy
    priority: Priority
    durability: Durability
    ledger: Path
    run_id: str


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
    )


def _policy(name: str, options: Mapping[str, Any], known: Mapping[str, StalenessPolicy]) -> StalenessPolicy:
    if name not in known:
        raise WrongUse(f"{KEY}.policy={name} is no staleness policy (known: {', '.join(sorted(known))}); name one")
    policy: Any = known[name]
    if not options:
        return known[name]
    if not hasattr(policy, "with_options"):
        raise WrongUse(f"{KEY}.options: the policy {name!r} takes none; leave them out")
    configured: StalenessPolicy = policy.with_options(dict(options))
    return configured


def _durability(name: object) -> Durability:
    try:
        return Durability[str(name)]
    except KeyError:
        raise WrongUse(f"{KEY}.durability is {' or '.join(each.name for each in Durability)}, not {name!r}") from None


def _whole(found: Mapping[str, Any], name: str) -> int:
    value = found[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongUse(f"{KEY}.{name} is a whole number, not {value!r}")
    return value
