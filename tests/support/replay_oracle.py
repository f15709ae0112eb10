"""verl's own replay buffer beside ours, over one TransferQueue: what happens to one happens to the other.

``SideBySide`` plays agent loops and trainer. Each generation that our feed starts is registered a second time, in the
partition ``ORACLE``, with the step that ours was given; each answer arrives in both. Then both are asked for a step.
Invariants: no call blocks (whoever would wait raises ``Waits``), and verl's code decides alone what verl's buffer does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import transfer_queue as tq
from real_queue import TRAJECTORIES, Now, ScriptedRollout, buffer_of, empty_queue, fed
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBufferAsync

from pangu_verl.integrations.verl.scheduling.arrivals import PARTITION
from pangu_verl.integrations.verl.scheduling.attempts import RESTS_S
from pangu_verl.integrations.verl.scheduling.prompts import PromptRows, group_of
from pangu_verl.queue.priority import Priority
from pangu_verl.queue.terms.built_in import built_in_terms
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.policies import Drop, Wait
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings

ORACLE = "oracle"
#: More than a test has prompts: no prompt is waited for under ``drop``, and the oldest comes first whoever it passes.
ALL = 1_000_000
Answer = TypeVar("Answer")


class Waits(Exception):
    """In the place of waiting."""


def asked(question: Callable[[], Answer]) -> Answer | None:
    """The answer, or None where it would be waited for."""
    try:
        return question()
    except Waits:
        return None


class Asked(Scheduler):
    """Ours, whose caller is not to wait for a step."""

    def take(self) -> Batch:
        batch = super().take()
        if batch is None:
            raise Waits
        return batch


class Oracle(ReplayBufferAsync):
    """verl's, whose caller is not to wait. What verl leaves to the order of a set comes in the order of admission."""

    def __init__(self, threshold: int, strategy: str) -> None:
        #: Of the last step, in verl's order.
        self.selected: list[str] = []
        self.refilled = 0
        super().__init__(
            trainer_mode="separate_async",
            trainer_config={},
            max_off_policy_threshold=threshold,
            max_off_policy_strategy=strategy,
            sampler_kwargs={},
            refill_fn=self._refill,
        )

    def _refill(self, num_prompts: int) -> None:
        """Nothing to do: our feed has begun the prompts anew, and ``SideBySide`` has registered them here."""
        self.refilled += num_prompts

    def _select_prompt_uids(self, partition_id: str, sampleable_keys: Collection[str], batch_size: int) -> Any:
        in_order = sorted(sampleable_keys, key=_place)
        found = super()._select_prompt_uids(partition_id, in_order, batch_size)
        self.selected = found[0]
        return found

    def _wait_for_next_poll(self, partition_id: str, last_debug_time: float) -> float:
        raise Waits


@dataclass(frozen=True, slots=True)
class Step:
    """What both gave. ``uids`` are the generations, in the order in which they were selected."""

    uids: list[str]
    our_rows: list[str]
    their_rows: list[str]
    our_metrics: dict[str, float]
    their_metrics: dict[str, float]


class MirroredRollout(ScriptedRollout):
    """Whatever is written into verl's partition for training is written into the oracle's too."""

    def __init__(self) -> None:
        super().__init__()
        #: The step, from 1, at which each generation was sent.
        self.steps: dict[str, int] = {}

    def start(self, batch: TensorDict) -> None:
        super().start(batch)
        _mirror(list(batch["uid"]))
        self.steps |= {uid: tag["global_steps"] for uid, tag in _prompts(ORACLE).items()}

    def answer(self, uid: str, *versions: int | None, status: str = "finished", sessions: int = TRAJECTORIES) -> None:
        super().answer(uid, *versions, status=status, sessions=sessions)
        _mirror([uid])


class SideBySide:
    """A run of ours and the oracle under it, from the first step on."""

    def __init__(self, settings: SchedulerSettings, policy: Wait | Drop) -> None:
        empty_queue()
        self.settings = settings
        self.rollout = MirroredRollout()
        self.scheduler = Asked(settings, policy, Priority(built_in_terms(), {"deadline_slack": 1.0}))
        self._now = Now()
        self._feed = fed(self.rollout, self.scheduler, PromptRows(TRAJECTORIES), clock=self._now)
        self._buffer = buffer_of(self._feed)
        self.oracle = Oracle(settings.bound_versions + 1, policy.name)
        self._num_consumed = 0
        self._feed.pump()

    # What agent loops and trainer do

    @property
    def step(self) -> int:
        """verl's ``global_steps``, from 1."""
        return self.scheduler.version + 1

    def unended(self) -> list[str]:
        """Generations that go on, oldest first: those that ours has given up as well."""
        return [uid for uid, tag in _prompts(ORACLE).items() if tag["status"] in ("pending", "running")]

    def begin(self, uid: str) -> None:
        """An agent loop has taken it."""
        for partition in (PARTITION, ORACLE):
            tq.kv_put(key=uid, partition_id=partition, tag={"status": "running"})

    def finish(self, uid: str, oldest_version: int = 0) -> None:
        """With tokens of every version from ``oldest_version``, as far as it can have some, to the present one."""
        start, now = self.rollout.steps[uid] - 1, self.scheduler.version
        self.rollout.answer(uid, *range(min(max(start, oldest_version), now), now + 1))

    def fail(self, uid: str, sessions: int = 0) -> None:
        """Some sessions raise; the prompt's rest is over at once."""
        self.rollout.answer(uid, self.scheduler.version, status="failure", sessions=sessions)
        self.look()
        self._now.s += RESTS_S[-1]
        self.look()

    def look(self) -> None:
        """What our feed does of itself."""
        self._feed.pump()

    def publish(self) -> None:
        self._feed.published()
        self._num_consumed = 0

    def sample(self) -> Step | None:
        """None where no step can be had. Raises where the two differ in what they should not."""
        self.look()
        due = {uid for uid in _ended(ORACLE) if self.is_given_up(uid)}
        before = set(_prompts(ORACLE))
        ours = asked(lambda: self._buffer.sample(self.step, PARTITION, self.settings.batch_groups))
        if ours is None:
            self._check_that_the_oracle_waits()
            found = None
        else:
            found = self._compared(*ours)
            self._num_consumed += self.settings.batch_groups
        gone = before - set(_prompts(ORACLE)) - set(found.uids if found else ())
        assert gone == due, f"verl evicted {sorted(gone)}, ours {sorted(due)}"
        return found

    # What is compared

    def is_given_up(self, uid: str) -> bool:
        """Whether ours has begun the prompt anew, or let it go after its last failure."""
        key, attempt = group_of(uid)
        group = self.scheduler.live.get(key)
        return group is None or group.attempt != attempt

    def _compared(self, ours: KVBatchMeta, our_metrics: dict[str, float]) -> Step:
        theirs, their_metrics = self.oracle.sample(self.step, ORACLE, self.settings.batch_groups)
        uids = list(dict.fromkeys(name.split("_")[0] for name in ours.keys))
        assert uids == self.oracle.selected
        assert dict(zip(ours.keys, ours.tags, strict=True)) == dict(zip(theirs.keys, theirs.tags, strict=True))
        return Step(uids, ours.keys, theirs.keys, our_metrics, their_metrics)

    def _check_that_the_oracle_waits(self) -> None:
        """Or that it would have to train over its threshold later, where the strategy is to wait."""
        size = self.settings.batch_groups
        sampleable = asked(lambda: self.oracle.wait_for_sampleable(self.step, ORACLE, size)[0])
        if sampleable is not None:
            assert self.oracle.max_off_policy_strategy == "wait"
            assert self._would_be_late(sampleable), "ours waits, and nothing that verl then left would be late"

    def _would_be_late(self, sampleable: Collection[str]) -> bool:
        """Whether more prompts have to be trained on in some steps after this one than those steps have places."""
        oracle, size = self.oracle, self.settings.batch_groups
        assert oracle.max_off_policy_threshold is not None
        to_last_step = oracle.max_off_policy_threshold - 1
        last_steps = {uid: sent + to_last_step for uid, sent in oracle.prompt_global_steps[ORACLE].items()}
        unended = oracle.pending_keys[ORACLE] | oracle.running_keys[ORACLE]
        for last in set(last_steps.values()):
            left = _until(last, last_steps, unended) + max(0, _until(last, last_steps, sampleable) - size)
            if left > (last - self.step) * size:
                return True
        return False

    def check_number_under_way(self) -> None:
        """As many as with ``bound_versions`` warm-up batches; verl's refills of what ours gave up come later."""
        full = (self.settings.bound_versions + 1) * self.settings.groups_per_version
        under_way = [uid for uid in _prompts(ORACLE) if not self.is_given_up(uid)]
        assert len(under_way) == full - self._num_consumed


def listing(partition: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = (tq.kv_list(partition) or {}).get(partition, {})
    return found


def _prompts(partition: str) -> dict[str, dict[str, Any]]:
    return {name: tag for name, tag in listing(partition).items() if tag.get("is_prompt")}


def _ended(partition: str) -> set[str]:
    return {uid for uid, tag in _prompts(partition).items() if tag["status"] in ("finished", "failure")}


def _mirror(uids: Iterable[str]) -> None:
    wanted = set(uids)
    items = {name: tag for name, tag in listing(PARTITION).items() if name.split("_")[0] in wanted}
    tq.kv_batch_put(keys=list(items), partition_id=ORACLE, tags=[dict(tag) for tag in items.values()])


def _place(uid: str) -> int:
    """In admission: ``ScriptedRollout`` names prompts p0, p1, …"""
    return int(group_of(uid)[0][1:])


def _until(last: int, last_steps: dict[str, int], uids: Iterable[str]) -> int:
    return sum(last_steps[uid] <= last for uid in uids)
