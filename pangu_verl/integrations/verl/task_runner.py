"""verl's task runner, which also makes sure that every process of the run has loaded our plugins.

It runs as a Ray actor and owns the trainer. Nothing of verl's training loop is changed here.
"""

from __future__ import annotations

from typing import Any

import ray
from verl.trainer import main_ppo
from verl.utils.import_utils import import_external_libs

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.features import require_features
from pangu_verl.integrations.verl.monitor import find_monitor

#: The plain class behind verl's Ray actor.
_VerlTaskRunner: type = main_ppo.TaskRunnerV1.__ray_metadata__.modified_class


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
    """Raise ``RunFailed`` naming the first process in which a plugin did not load, and why."""
    answers = ray.get([worker.__ray_call__.remote(boot_outcomes) for worker in workers.values()])
    for name, outcomes in zip(workers, answers, strict=True):
        refuse_failed_boot(name, outcomes)


def refuse_failed_boot(process: str, outcomes: dict[str, str]) -> None:
    """Raise ``RunFailed`` if a plugin of ``process`` is not in order."""
    for plugin, outcome in outcomes.items():
        if outcome not in ("ready", "inactive"):
            raise RunFailed(
                f"plugin {plugin!r} did not load in process {process!r}: {outcome}; "
                "install the same environment on every node and check VERL_USE_EXTERNAL_PLUGINS"
            )


class PanguTaskRunner(_VerlTaskRunner):
    """verl's V1 task runner with our checks before the first step."""

    def run(self, config: Any) -> None:
        require_features()
        refuse_failed_boot("task runner", boot_outcomes())
        import_external_libs(config.actor_rollout_ref.model.external_lib)
        super().run(config)
        self._record_server_statistics()

    def init_agent_loop_manager(self) -> None:
        super().init_agent_loop_manager()
        require_boot(self._workers())

    def _record_server_statistics(self) -> None:
        servers = self._servers()
        if (monitor := find_monitor()) is not None and all(hasattr(server, "statistics") for server in servers):
            statistics = ray.get([server.statistics.remote() for server in servers])
            ray.get(monitor.record.remote("servers", statistics))

    def _servers(self) -> list[ray.actor.ActorHandle]:
        managers = (getattr(self.trainer, name, None) for name in ("llm_server_manager", "standalone_server_manager"))
        return [handle for manager in managers if manager is not None for handle in manager.server_handles]

    def _workers(self) -> dict[str, ray.actor.ActorHandle]:
        groups = {
            "trainer worker": self.trainer.actor_rollout_wg.workers,
            "rollout server": self._servers(),
            "reward worker": self.trainer.get_reward_handles() or [],
            "agent-loop worker": self.agent_loop_manager.agent_loop_workers,
        }
        return {f"{role} {index}": worker for role, group in groups.items() for index, worker in enumerate(group)}
