"""verl's asynchronous trainers under our scheduler: the modes ``pangu_ssp`` and ``pangu_ssp_colocate``.

``pangu_ssp`` is verl's ``separate_async`` and ``pangu_ssp_colocate`` its ``colocate_async``; servers, weights, losses
and the order of a step stay verl's. What differs: prompts start when the scheduler starts them, a step trains on what
it hands out, tokens over the bound stay out of the loss, and a checkpoint holds the ledger. Invariant: the scheduler's
version is the one that verl's servers stamp: the number of training steps behind the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, PPOTrainer, register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync

from pangu_verl.integrations.verl.layout import resumed_checkpoint
from pangu_verl.integrations.verl.scheduling import checkpoint
from pangu_verl.integrations.verl.scheduling.arrivals import Row
from pangu_verl.integrations.verl.scheduling.buffer import ScheduledBuffer
from pangu_verl.integrations.verl.scheduling.client import RecordingClient
from pangu_verl.integrations.verl.scheduling.feed import Feed, Rollout
from pangu_verl.integrations.verl.scheduling.prompts import PromptRows
from pangu_verl.integrations.verl.scheduling.settings import scheduling_of


class _ScheduledTraining(PPOTrainer):
    """Comes before one of verl's asynchronous trainers in a class's bases."""

    def _build_replay_buffer(self) -> ScheduledBuffer:
        sampler = self.config.trainer.v1.sampler
        return ScheduledBuffer(
            trainer_mode=self.trainer_mode,
            trainer_config=self.config.trainer.v1.get(self.trainer_mode, {}),
            # Validation alone goes by verl's rules, and knows no age.
            max_off_policy_threshold=None,
            max_off_policy_strategy=sampler.max_off_policy_strategy,
            sampler_kwargs=sampler.sampler_kwargs,
        )

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        scheduling = scheduling_of(self.config, self.parameter_sync_step)
        rollout = self.config.actor_rollout_ref.rollout
        prompts = PromptRows(rollout.n)
        rows: dict[str, tuple[Row, ...]] = {}
        if self.global_steps:
            steps = self.global_steps * self.parameter_sync_step
            folder = resumed_checkpoint(self.config, self.global_steps)
            scheduler, self._ledger, rows = checkpoint.resume(scheduling, folder, steps, prompts, rollout.n)
        else:
            scheduler, self._ledger = checkpoint.begin(scheduling)
        self._feed = Feed(scheduler, prompts, self._rollout())
        self._feed.restored(rows)
        self.replay_buffer.feed = self._feed

    def _rollout(self) -> Rollout:
        rollout = self.config.actor_rollout_ref.rollout
        return Rollout(
            load=self._next_train_batch,
            start=self._send,
            slots=max(rollout.max_num_seqs * self._num_servers(), rollout.n),
            trajectories=rollout.n,
            takes_priorities=rollout.scheduling_policy == "priority",
        )

    def _send(self, rows: Any) -> None:
        """verl cuts a batch into one part for each worker, from the first on; ours are small, so the first changes."""
        manager = self.agent_loop_manager
        manager.generate_sequences(rows)
        served = min(len(rows), len(manager.agent_loop_workers))
        manager.agent_loop_workers = manager.agent_loop_workers[served:] + manager.agent_loop_workers[:served]

    def _num_servers(self) -> int:
        raise NotImplementedError

    def fit(self, agent_loop_manager: Any) -> None:
        try:
            super().fit(agent_loop_manager)
        finally:
            self._feed.stop()
            self._ledger.close()
        self._feed.check()

    def on_init_end(self) -> None:
        super().on_init_end()
        # A checkpoint is made before the weights of its step are published.
        while self._feed.scheduler.version < self.global_steps:
            self._feed.scheduler.publish()

    def _reissue_inflight_prompts(self, partition_id: str = "train") -> int:
        """verl's would start them as if they were new; ours wait in the scheduler with their age."""
        return 0

    def on_train_begin(self) -> None:
        """In the place of verl's warm-up batches."""
        self._feed.start()

    def _add_batch_to_generate(self) -> None:
        """verl sends a batch of prompts at every step; ours are sent as slots fall free."""

    def on_step_end(self) -> None:
        # Servers make tokens of the new version before verl is back: nobody may look before the scheduler knows it.
        with self._feed.lock:
            super().on_step_end()
            self._feed.published()

    def _save_checkpoint(self) -> None:
        with self._feed.lock:
            folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
            checkpoint.save(self._feed.scheduler, self._ledger, folder)
            super()._save_checkpoint()


class ScheduledSeparate(_ScheduledTraining, PPOTrainerSeparateAsync):
    """Servers on devices of their own."""

    def get_llm_client(self) -> Any:
        return self.standalone_server_manager.get_client(client_cls=RecordingClient)

    def _num_servers(self) -> int:
        rollout = self.config.actor_rollout_ref.rollout
        devices = rollout.tensor_model_parallel_size * rollout.data_parallel_size * rollout.pipeline_model_parallel_size
        return max(1, rollout.nnodes * rollout.n_gpus_per_node // devices)


class ScheduledColocated(_ScheduledTraining, PPOTrainerColocateAsync):
    """Servers and trainer take turns on the same devices."""

    def get_llm_client(self) -> Any:
        return self.llm_server_manager.get_client(client_cls=RecordingClient)

    def _num_servers(self) -> int:
        return len(self.llm_server_manager.server_handles)


TRAINERS = {"pangu_ssp": ScheduledSeparate, "pangu_ssp_colocate": ScheduledColocated}


def register_trainers() -> None:
    """Once per process."""
    for name, trainer in TRAINERS.items():
        if name not in TRAINER_REGISTRY:
            register_trainer(name)(trainer)
