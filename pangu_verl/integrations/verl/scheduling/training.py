"""verl's asynchronous trainers under our scheduler: the modes ``pangu_ssp`` and ``pangu_ssp_colocate``.

``pangu_ssp`` is verl's ``separate_async`` and ``pangu_ssp_colocate`` its ``colocate_async``; servers, weights, losses
and the order of a step stay verl's. What differs: prompts start when the scheduler starts them, a step trains on what
it hands out, tokens over the bound stay out of the loss, and a checkpoint holds the ledger. Invariant: the scheduler's
version is the one that verl's servers stamp: the number of training steps behind the weights.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ray
from omegaconf import open_dict
from verl.checkpoint_engine import CheckpointEngineManager
from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync

from pangu_verl.integrations.verl.layout import resumed_checkpoint
from pangu_verl.integrations.verl.scheduling import checkpoint
from pangu_verl.integrations.verl.scheduling.arrivals import Row
from pangu_verl.integrations.verl.scheduling.buffer import ScheduledBuffer
from pangu_verl.integrations.verl.scheduling.feed import Feed, Rollout
from pangu_verl.integrations.verl.scheduling.known_prompts import KnownPrompts
from pangu_verl.integrations.verl.scheduling.loss.aged_loss import AgedLoss
from pangu_verl.integrations.verl.scheduling.prompts import PromptRows
from pangu_verl.integrations.verl.scheduling.readings import reading_of
from pangu_verl.integrations.verl.scheduling.rollout.agent_loops import AGENT_LOOPS_KEY, ScheduledAgentLoops
from pangu_verl.integrations.verl.scheduling.rollout.client import RecordingClient
from pangu_verl.integrations.verl.scheduling.rollout.notices import Settled, start_mailbox
from pangu_verl.integrations.verl.scheduling.rollout.publications import Publisher
from pangu_verl.integrations.verl.scheduling.rollout.servers import Servers
from pangu_verl.integrations.verl.scheduling.settings import scheduling_of
from pangu_verl.integrations.verl.scheduling.timekeeping import Phase, Timekeeper
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.metrics import task_metrics
from pangu_verl.scheduler.timeline import TIMELINE_NAME


class _ScheduledTraining(AgedLoss):
    """Comes before one of verl's asynchronous trainers in a class's bases."""

    def __init__(self, config: Any) -> None:
        agent = config.actor_rollout_ref.rollout.agent
        if not agent.get(AGENT_LOOPS_KEY):
            with open_dict(agent):
                agent[AGENT_LOOPS_KEY] = f"{ScheduledAgentLoops.__module__}.{ScheduledAgentLoops.__name__}"
        self._mailbox = start_mailbox()
        self._closing = ExitStack()
        self._asleep = ExitStack()
        #: Those of the present step of verl's.
        self._batches: list[Batch] = []
        super().__init__(config)

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
        self._set_up_loss(scheduling)
        self._controller = scheduling.controller
        rollout = self.config.actor_rollout_ref.rollout
        rows: dict[str, tuple[Row, ...]] = {}
        num_rows = len(self.train_dataset)
        if self.global_steps:
            steps = self.global_steps * self.parameter_sync_step
            folder = resumed_checkpoint(self.config, self.global_steps)
            prompts = PromptRows(rollout.n, checkpoint.known_prompts(folder, num_rows))
            scheduler, self._ledger, rows = checkpoint.resume(scheduling, folder, steps, prompts, rollout.n)
        else:
            file = scheduling.known_prompts
            known = KnownPrompts.load(file, num_rows) if file else KnownPrompts(num_rows)
            prompts = PromptRows(rollout.n, known)
            scheduler, self._ledger = checkpoint.begin(scheduling)
        self._closing.callback(self._ledger.close)
        self._timeline = scheduling.ledger.with_name(TIMELINE_NAME)
        self._feed = Feed(scheduler, prompts, self._rollout())
        self._feed.restored(rows)
        self.replay_buffer.feed = self._feed

    def _rollout(self) -> Rollout:
        rollout = self.config.actor_rollout_ref.rollout
        return Rollout(
            load=self._next_train_batch,
            start=lambda rows: self.agent_loop_manager.generate_sequences(rows),
            give_up=lambda uids: self.agent_loop_manager.give_up(uids),
            wait=self._wait,
            slots=lambda: max(rollout.max_num_seqs * len(self._server_names()), rollout.n),
            trajectories=rollout.n,
            takes_priorities=rollout.scheduling_policy == "priority",
            meanwhile=self._mend,
        )

    def _wait(self, timeout_s: float) -> None:
        """Until the agent loops say that something has ended."""
        until_s = time.monotonic() + timeout_s
        while (left_s := until_s - time.monotonic()) > 0:
            notices = ray.get(self._mailbox.take.remote(left_s))
            self._timekeeper.noted(notices)
            if any(isinstance(notice, Settled) for notice in notices):
                return

    def _server_names(self) -> list[str]:
        """Of those that there are, as verl's balancer knows them."""
        raise NotImplementedError

    def _device_shares(self) -> tuple[float, float] | None:
        """Which part of all devices rollout has, and the trainer; None where they take turns."""
        return None

    def _mend(self) -> None:
        """What can be mended of the servers while no step is trained."""

    def fit(self, agent_loop_manager: Any) -> None:
        try:
            super().fit(agent_loop_manager)
        except Exception:  # of whatever kind, it may follow from what went wrong in the feed, which is then told
            self._feed.check()
            raise
        finally:
            self._feed.stop()
            self._closing.close()
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
        scheduler = self._feed.scheduler
        ray.get(self._mailbox.take.remote(0.0))  # of a validation before the first step
        self._timekeeper = Timekeeper(
            self._timeline,
            mode=self.trainer_mode,
            policy=scheduler.policy.name,
            bound_versions=scheduler.settings.bound_versions,
            slots_per_replica=self.config.actor_rollout_ref.rollout.max_num_seqs,
            device_shares=self._device_shares(),
        )
        self._closing.callback(self._timekeeper.close)
        self._feed.start()

    def _add_batch_to_generate(self) -> None:
        """verl sends a batch of prompts at every step; ours are sent as slots fall free."""

    def on_sample_begin(self) -> None:
        self._enter(Phase.WAITING)
        super().on_sample_begin()

    def on_sample_end(self) -> None:
        super().on_sample_end()
        batch = self.replay_buffer.delivery.batch
        self._batches.append(batch)
        self._timekeeper.consumed(batch)
        self._enter(Phase.COMPUTING)

    def on_step_end(self) -> None:
        self._enter(Phase.PUBLISHING)
        # Servers make tokens of the new version before verl is back: nobody may look before the scheduler knows it.
        with self._feed.lock:
            super().on_step_end()
            self._feed.published()
        self._enter(Phase.OTHER)

    def _enter(self, phase: Phase) -> None:
        scheduler = self._feed.scheduler
        self._timekeeper.enters(phase, step=scheduler.step, version=scheduler.version)

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        metrics.update(self._timekeeper.metrics(self._server_names()))
        # Not with a batch's own metrics: verl takes a mean, sum or maximum by words in a name, and tasks have any name.
        metrics.update({f"scheduler/{name}": value for name, value in task_metrics(self._batches).items()})
        self._batches = []
        if self._controller is not None:
            reading = reading_of(metrics, self._feed.scheduler.settings.batch_groups)
            self._feed.steer(self._controller, reading)
        super()._compute_metrics(batch, metrics, *args, **kwargs)

    def _save_checkpoint(self) -> None:
        self._enter(Phase.SAVING)
        with self._feed.lock, self._feed.servers_stand_still():
            folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
            checkpoint.save(self._feed.scheduler, self._ledger, self._feed.known, folder)
            super()._save_checkpoint()


class ScheduledSeparate(_ScheduledTraining, PPOTrainerSeparateAsync):
    """Servers on devices of their own."""

    standalone_checkpoint_manager: CheckpointEngineManager

    def _setup(self) -> None:
        super()._setup()
        self._servers = Servers(self.standalone_server_manager)
        self._publisher = Publisher(
            self.standalone_checkpoint_manager,
            self._servers,
            compares_weights=self.config.pangu.scheduler.weights_checksum,
        )
        self.standalone_checkpoint_manager = self._publisher
        if self._publisher.survives_losses:
            self._servers.start()

    def fit(self, agent_loop_manager: Any) -> None:
        try:
            super().fit(agent_loop_manager)
        finally:
            self._servers.stop()

    def get_llm_client(self) -> Any:
        # In verl's words: requests wait while there is no server.
        return self.standalone_server_manager.get_client(
            client_cls=RecordingClient, mailbox=self._mailbox, only_hybrid=True
        )

    def _server_names(self) -> list[str]:
        return list(self.standalone_server_manager.server_addresses)

    def _mend(self) -> None:
        self._servers.check()
        # Between two steps of one version the trainer's weights are no version's.
        if self.local_trigger_step == 0:
            self._publisher.take_in(self._feed.scheduler.version)

    def _device_shares(self) -> tuple[float, float]:
        rollout, trainer = self.config.actor_rollout_ref.rollout, self.config.trainer
        servers, workers = rollout.nnodes * rollout.n_gpus_per_node, trainer.nnodes * trainer.n_gpus_per_node
        return servers / (servers + workers), workers / (servers + workers)


class ScheduledColocated(_ScheduledTraining, PPOTrainerColocateAsync):
    """Servers and trainer take turns on the same devices."""

    def get_llm_client(self) -> Any:
        return self.llm_server_manager.get_client(client_cls=RecordingClient, mailbox=self._mailbox)

    def _server_names(self) -> list[str]:
        return list(self.llm_server_manager.server_addresses)

    def on_sample_end(self) -> None:
        super().on_sample_end()
        self._asleep.enter_context(self._feed.servers_stand_still())

    def on_step_end(self) -> None:
        super().on_step_end()
        self._asleep.close()


TRAINERS = {"pangu_ssp": ScheduledSeparate, "pangu_ssp_colocate": ScheduledColocated}


def register_trainers() -> None:
    """Once per process."""
    for name, trainer in TRAINERS.items():
        if name not in TRAINER_REGISTRY:
            register_trainer(name)(trainer)
