"""verl's task runner, which also makes sure that every process of the run has loaded our plugins.

It runs as a Ray actor and owns the trainer, and starts the counts of rewards before any worker is there. Of verl's
training loop it changes nothing but which trainer runs it: the configured one, derived in ``judged_training.py``.
"""

from __future__ import annotations

from typing import Any

import ray
from verl.trainer import main_ppo
from verl.utils.import_utils import import_external_libs

from pangu_verl.integrations.verl.boot_check import boot_outcomes, refuse_failed_boot, require_boot
from pangu_verl.integrations.verl.features import require_features
from pangu_verl.integrations.verl.monitor import find_monitor
from pangu_verl.integrations.verl.shared_state import start_state

#: The plain class behind verl's Ray actor.
_VerlTaskRunner: type = main_ppo.TaskRunnerV1.__ray_metadata__.modified_class


class PanguTaskRunner(_VerlTaskRunner):
    """verl's V1 task runner with our checks before the first step."""

    def run(self, config: Any) -> None:
        require_features()
        refuse_failed_boot("task runner", boot_outcomes())
        import_external_libs(config.actor_rollout_ref.model.external_lib)
        # A process whose platform plugin is missing cannot import verl's trainer; it has said so by now.
        from pangu_verl.integrations.verl.judged_training import judging_trainer
        from pangu_verl.integrations.verl.scheduling.training import register_trainers

        register_trainers()
        config.trainer.v1.trainer_mode = judging_trainer(config.trainer.v1.trainer_mode)
        # Ray ends a named actor as soon as nobody holds it.
        self._reward_state = start_state(config)
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
