"""A real TransferQueue on a real Ray, and prompts and answers as verl's loader and agent loops put them there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.utils import tensordict_utils

from pangu_verl.integrations.verl.scheduling.buffer import ScheduledBuffer
from pangu_verl.integrations.verl.scheduling.feed import Feed, Rollout
from pangu_verl.integrations.verl.scheduling.prompts import PromptRows
from pangu_verl.scheduler.policies import Mask
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import StalenessPolicy

TRAJECTORIES = 2
TOKENS = 4
SETTINGS = SchedulerSettings(batch_groups=2, bound_versions=1)
ALL_SLOTS = 100 * TRAJECTORIES


@contextmanager
def real_queue() -> Iterator[None]:
    """Both are down again afterwards."""
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        tq.init(OmegaConf.create({"backend": {"SimpleStorage": {"num_data_storage_units": 1}}}))
        yield
        tq.close()
    finally:
        ray.shutdown()


def empty_queue() -> None:
    for partition, items in (tq.kv_list() or {}).items():
        if items:
            tq.kv_clear(keys=list(items), partition_id=partition)


def names(partition: str) -> set[str]:
    return set((tq.kv_list(partition) or {}).get(partition, {}))


class ScriptedRollout:
    """verl's data loader and agent loops, which answer when they are told to."""

    def __init__(self) -> None:
        self.loaded = 0
        #: uids in the order in which they were started, and told to stop.
        self.started: list[str] = []
        self.given_up: list[str] = []

    def load(self, number: int) -> TensorDict:
        first, self.loaded = self.loaded, self.loaded + number
        rows = range(first, first + number)
        batch = tensordict_utils.get_tensordict(
            {
                "uid": np.array([f"p{row}" for row in rows], dtype=object),
                "raw_prompt": np.array([[{"role": "user", "content": f"{row}?"}] for row in rows], dtype=object),
                "data_source": np.array(["maths"] * number, dtype=object),
                "dummy_tensor": torch.zeros(number, 1, dtype=torch.uint8),
                "index": np.arange(first, first + number),
            }
        )
        tensordict_utils.assign_non_tensor_data(batch, "global_steps", 1)
        return batch

    def start(self, batch: TensorDict) -> None:
        assert [message[0]["content"] for message in batch["raw_prompt"]] == [
            f"{uid.split('.')[0][1:]}?" for uid in batch["uid"]
        ]
        self.started += list(batch["uid"])

    def sides(self, slots: int = ALL_SLOTS) -> Rollout:
        return Rollout(
            load=self.load,
            start=self.start,
            give_up=self.given_up.extend,
            wait=lambda timeout_s: time.sleep(min(timeout_s, 0.02)),
            slots=lambda: slots,
            trajectories=TRAJECTORIES,
        )

    def answer(self, uid: str, *versions: int | None, status: str = "finished", sessions: int = TRAJECTORIES) -> None:
        """``TOKENS`` tokens of each version in each session, then the status, as ``AgentLoopWorkerTQ`` writes them."""
        notes = [(version, TOKENS) for version in versions]
        keys = [f"{uid}_{session}_0" for session in range(sessions)]
        if keys:
            tq.kv_batch_put(keys=keys, partition_id="train", fields=_fields(keys, notes), tags=_tags(keys, notes))
        tq.kv_put(key=uid, partition_id="train", tag={"status": status})

    def answer_all(self, *versions: int) -> None:
        for uid in [uid for uid in self.started if uid in names("train")]:
            self.answer(uid, *versions)


class Now:
    """A clock that stands still."""

    s = 0.0

    def __call__(self) -> float:
        return self.s


def feed_of(
    rollout: ScriptedRollout,
    policy: StalenessPolicy | None = None,
    slots: int = ALL_SLOTS,
    clock: Callable[[], float] = time.monotonic,
) -> Feed:
    return fed(rollout, Scheduler(SETTINGS, policy or Mask(0.0, 0)), PromptRows(TRAJECTORIES), slots, clock)


def fed(
    rollout: ScriptedRollout,
    scheduler: Scheduler,
    prompts: PromptRows,
    slots: int = ALL_SLOTS,
    clock: Callable[[], float] = time.monotonic,
) -> Feed:
    return Feed(scheduler, prompts, rollout.sides(slots), clock)


def buffer_of(feed: Feed) -> ScheduledBuffer:
    buffer = ScheduledBuffer(
        trainer_mode="pangu_ssp",
        trainer_config={},
        max_off_policy_threshold=None,
        max_off_policy_strategy="drop",
        sampler_kwargs={},
    )
    buffer.feed = feed
    return buffer


def _fields(keys: Sequence[str], notes: Sequence[tuple[int | None, int]]) -> TensorDict:
    length = sum(tokens for _, tokens in notes)
    mask = [torch.ones(length, dtype=torch.int64) for _ in keys]
    extra: list[dict[str, Any]] = [{"segments": list(notes)} for _ in keys]
    return tensordict_utils.list_of_dict_to_tensordict(
        [
            {"response_mask": row, "loss_mask": row, "extra_fields": fields}
            for row, fields in zip(mask, extra, strict=True)
        ]
    )


def _tags(keys: Sequence[str], notes: Sequence[tuple[int | None, int]]) -> list[dict[str, Any]]:
    first, last = notes[0][0], notes[-1][0]
    length = sum(tokens for _, tokens in notes)
    return [{"status": "success", "seq_len": length, "min_global_steps": first, "max_global_steps": last} for _ in keys]
