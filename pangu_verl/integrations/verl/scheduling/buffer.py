"""What verl's trainer samples from: the scheduler's choice, with the tokens over their bound left out of the loss.

Invariants: training samples come from the feed alone, validation's from verl's own rule; a row's masks are written
before anybody reads them. Metrics are those of the batch and named so that verl aggregates them as meant.
"""

from __future__ import annotations

from typing import Any

from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBufferAsync

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.queue_rows import MASKS, nested, part, read, write
from pangu_verl.integrations.verl.scheduling.feed import POLL_INTERVAL_S, Delivery, Feed
from pangu_verl.integrations.verl.scheduling.segments import without_first
from pangu_verl.scheduler.metrics import batch_metrics
from pangu_verl.scheduler.queue_metrics import queue_metrics
from pangu_verl.scheduler.steering import in_force

#: verl skips a step without a token in its loss; so many in a row end the run (project default).
MOST_EMPTY_STEPS_IN_A_ROW = 3


class ScheduledBuffer(ReplayBufferAsync):
    """verl's replay buffer whose training samples are the scheduler's; ``feed`` is set before the first.

    ``delivery`` is what the last of them was made of.
    """

    feed: Feed
    delivery: Delivery

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(poll_interval=POLL_INTERVAL_S, **kwargs)
        self._empty_steps_in_a_row = 0

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict[str, Any]]:
        """verl's contract: ``batch_size`` prompt groups for training step ``global_steps`` (from 1), and metrics."""
        if partition_id != "train":
            return super().sample(global_steps, partition_id, batch_size)
        _check_call(self.feed, global_steps, batch_size)
        delivery = self.delivery = self.feed.take()
        self._check_tokens(delivery)
        rows = [row for entry in delivery.batch.groups for row in delivery.rows[entry.group.key]]
        batch = KVBatchMeta(partition_id="train", keys=[row.name for row in rows], tags=[dict(row.tag) for row in rows])
        return _masked(batch, delivery), metrics_of(self.feed, delivery)

    def _check_tokens(self, delivery: Delivery) -> None:
        """verl skips a step whose loss is 0 / 0; where that goes on, nothing is learnt."""
        is_empty = not any(entry.trained_tokens for entry in delivery.batch.groups)
        self._empty_steps_in_a_row = self._empty_steps_in_a_row + 1 if is_empty else 0
        self.feed.counts["steps_without_a_fresh_token"] += is_empty
        if self._empty_steps_in_a_row == MOST_EMPTY_STEPS_IN_A_ROW:
            raise RunFailed(
                f"{MOST_EMPTY_STEPS_IN_A_ROW} steps in a row had no token within the bound; responses outlive "
                f"{delivery.batch.groups[0].bound_versions} publications: raise pangu.scheduler.bound_versions"
            )


def _check_call(feed: Feed, global_steps: int, batch_size: int) -> None:
    scheduler = feed.scheduler
    if scheduler.version != global_steps - 1:
        raise RunFailed(
            f"verl trains step {global_steps} with weights that the scheduler calls version {scheduler.version}, not "
            f"{global_steps - 1}; a publication was missed, which is a fault of this integration: please report it"
        )
    if batch_size != scheduler.settings.batch_groups:
        raise RunFailed(
            f"verl asks for {batch_size} prompt groups, the scheduler was set up for {scheduler.settings.batch_groups}"
        )


def _masked(batch: KVBatchMeta, delivery: Delivery) -> KVBatchMeta:
    """The batch, with masks written anew for the rows of which a token is over the bound."""
    masked_by_row: dict[str, tuple[str, int]] = {}
    for entry in delivery.batch.groups:
        for row in delivery.rows[entry.group.key]:
            if num_masked := entry.masked_tokens[row.session]:
                masked_by_row[row.name] = (f"{entry.group.key}_{row.session}", num_masked)
    if not masked_by_row:
        return batch
    stale = part(batch, [name in masked_by_row for name in batch.keys])
    masks = read(stale, ["response_mask"])["response_mask"].unbind()
    write(stale, dict.fromkeys(MASKS, nested(_without_stale(stale.keys, masks, masked_by_row))))
    return batch


def _without_stale(names: list[str], masks: Any, masked_by_row: dict[str, tuple[str, int]]) -> list[Any]:
    """Masks in the order of ``names``; the rows of one trajectory stand together, in their order."""
    fresh: list[Any] = []
    place = 0
    while place < len(names):
        trajectory, num_masked = masked_by_row[names[place]]
        end = place
        while end < len(names) and masked_by_row[names[end]][0] == trajectory:
            end += 1
        fresh += without_first(masks[place:end], num_masked)
        place = end
    return fresh


def metrics_of(feed: Feed, delivery: Delivery) -> dict[str, float]:
    """Of this batch, of what is left in the queue, and counts since the run began."""
    with feed.lock:
        scheduler = feed.scheduler
        decision = in_force(scheduler)
        queue = queue_metrics(scheduler.live.values(), scheduler.version)
        counts = {**scheduler.counts, **feed.counts}
    found = {f"scheduler/{name}": value for name, value in {**batch_metrics(delivery.batch), **queue}.items()}
    found["scheduler/bound_versions"] = float(decision.bound_versions)
    found["scheduler/window_groups"] = float(decision.window_groups)
    found["scheduler/cpu_s/sum"] = feed.spent_cpu_s()
    return found | {f"scheduler/{name}_so_far/max": float(number) for name, number in counts.items()}
