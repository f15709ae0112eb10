"""Asks processes whether our plugins loaded, and refuses a run in which one of them did not.

Kept apart from the task runner: without its platform plugin a process cannot import verl's trainer, and it must be able
to say so. Nothing is loaded or repaired here.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import RayError

from pangu_verl.errors import RunFailed
from pangu_verl.plugins import installed_plugins


def boot_outcomes(*_: Any) -> dict[str, str]:
    """What the plugins of this process say of themselves; runs inside any worker."""
    import importlib
    import sys
    from importlib.metadata import entry_points

    import verl  # noqa: F401 - importing verl is what boots the plugins

    outcomes = {}
    for entry_point in entry_points(group="verl.plugins"):
        if entry_point.name.startswith("pangu_verl"):
            was_loaded = entry_point.module in sys.modules
            try:
                outcome = importlib.import_module(entry_point.module).outcome
            except Exception as error:  # noqa: BLE001 - the reason is what is asked for
                outcome = f"{type(error).__name__}: {error}"
            outcomes[entry_point.name] = outcome if was_loaded or outcome != "ready" else "verl was told not to load it"
    return outcomes or {"pangu_verl": "not installed in this process"}


def require_boot(workers: dict[str, ray.actor.ActorHandle]) -> None:
    """Raise ``RunFailed`` naming the first process in which a plugin did not load or is not installed, and why."""
    answers = ray.get([worker.__ray_call__.remote(_look_around) for worker in workers.values()])
    expected = installed_plugins()
    for name, (outcomes, installed) in zip(workers, answers, strict=True):
        refuse_failed_boot(name, outcomes)
        refuse_other_plugins(name, installed, expected)


def _look_around(*_: Any) -> tuple[dict[str, str], dict[str, str]]:
    return boot_outcomes(), installed_plugins()


def refuse_other_plugins(process: str, installed: dict[str, str], expected: dict[str, str]) -> None:
    """Raise ``RunFailed`` if the plugins installed for ``process`` are not the driver's, ``expected``."""
    for plugin in sorted(installed.keys() | expected.keys()):
        here, there = expected.get(plugin, "missing"), installed.get(plugin, "missing")
        if here != there:
            raise RunFailed(
                f"plugin {plugin!r} is {here} in the driver and {there} in process {process!r}; "
                "install the same environment on every node"
            )


def refuse_failed_boot(process: str, outcomes: dict[str, str]) -> None:
    """Raise ``RunFailed`` if a plugin of ``process`` is not in order."""
    for plugin, outcome in outcomes.items():
        if outcome not in ("ready", "inactive"):
            raise RunFailed(
                f"plugin {plugin!r} did not load in process {process!r}: {outcome}; "
                "install the same environment on every node and check VERL_USE_EXTERNAL_PLUGINS"
            )


def require_boot_in_new_worker() -> None:
    """Raise ``RunFailed`` if a plugin does not load in a worker that Ray starts now; says nothing where Ray cannot."""
    try:
        outcomes = ray.get(ray.remote(num_cpus=0)(boot_outcomes).remote(), timeout=60)
    except RayError:
        return
    refuse_failed_boot("Ray worker", outcomes)
