"""What others offer for the same purpose, on this machine: TransferQueue's listing, verl's MessageQueue, Ray's Queue.

None of the three is on disk, so their figures stand beside those of the ledger, not in a race with them. Each runs in
Ray on this machine with as many processes as it starts by itself; the items are what a ledger keeps of a trajectory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rewards_parts.measuring import spread

from pangu_verl.queue.ledger_completion import Completion

from . import BATCH, Scale
from .made import completions, in_batches, made_groups, seconds

#: Bookkeeping of Ray's, not cores: what the actors of all three ask for.
LOGICAL_CORES = 6


def measure(scale: Scale, folder: Path) -> dict[str, Any]:
    groups = made_groups(max(1, scale.num_batches * BATCH // 8))
    items = completions(groups)
    with _ray():
        return {
            "transfer_queue": _transfer_queue(scale),
            "message_queue": _message_queue(items, scale),
            "ray_queue": _ray_queue(items, scale),
        }


def table(figures: dict[str, Any]) -> list[list[object]]:
    listing = figures["transfer_queue"]
    rates = [
        [name, *(figures[part][f"{side}_per_second"]["median"] for side in ("put", "get"))]
        for name, part in (("verl MessageQueue", "message_queue"), ("ray.util.queue", "ray_queue"))
    ]
    return [
        ["items a second", "put", "get"],
        *rates,
        ["TransferQueue", listing["put_per_second"]["median"], None],
        [f"one listing of {listing['keys']} keys, ms", None, 1000 * listing["listing_s"]["median"]],
    ]


@contextmanager
def _ray() -> Iterator[None]:
    import ray

    # It warns in every call of a machine that has fewer cores than it would like.
    os.environ.setdefault("TQ_LOGGING_LEVEL", "ERROR")
    ray.init(
        num_cpus=LOGICAL_CORES,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        object_store_memory=200_000_000,
    )
    try:
        yield
    finally:
        ray.shutdown()


def _transfer_queue(scale: Scale) -> dict[str, Any]:
    """Keys with a tag each, as verl writes them beside its tensors; then the listing that verl's sampler polls."""
    import torch
    import transfer_queue
    from tensordict import TensorDict

    transfer_queue.init()
    keys = [group.key for group in made_groups(scale.num_entries)]
    rates = []
    for batch in in_batches(keys, BATCH):
        fields = TensorDict({"tokens": torch.zeros(len(batch), 1)}, batch_size=len(batch))
        tags = [{"status": "success", "global_steps": 1} for _ in batch]
        put = partial(transfer_queue.kv_batch_put, list(batch), "train", fields, tags)
        rates.append(len(batch) / seconds(put))
    times = [seconds(partial(transfer_queue.kv_list, "train")) for _ in range(scale.repeats)]
    num_listed = len(transfer_queue.kv_list("train")["train"])
    transfer_queue.close()
    return {
        "keys": num_listed,
        "put_per_second": spread(rates),
        "listing_s": spread(times),
        "listed_per_second": spread([num_listed / each for each in times]),
    }


def _message_queue(items: Sequence[Completion], scale: Scale) -> dict[str, Any]:
    """It takes and gives one item a call; the calls of a batch are under way at once."""
    import ray
    from omegaconf import OmegaConf
    from verl.experimental.fully_async_policy.message_queue import MessageQueue

    actor = MessageQueue.remote(OmegaConf.create(), max_queue_size=len(items))
    figures = _put_and_get(
        items,
        scale,
        lambda batch: ray.get([actor.put_sample.remote(item) for item in batch]),
        lambda count: ray.get([actor.get_sample.remote() for _ in range(count)]),
    )
    ray.kill(actor)
    return figures


def _ray_queue(items: Sequence[Completion], scale: Scale) -> dict[str, Any]:
    from ray.util.queue import Queue

    queue = Queue(maxsize=len(items))
    figures = _put_and_get(items, scale, lambda batch: queue.put_nowait_batch(list(batch)), queue.get_nowait_batch)
    queue.shutdown()
    return figures


def _put_and_get(
    items: Sequence[Completion],
    scale: Scale,
    put: Callable[[Sequence[Completion]], object],
    get: Callable[[int], object],
) -> dict[str, Any]:
    rates: dict[str, list[float]] = {"put": [], "get": []}
    for _ in range(scale.repeats):
        batches = list(in_batches(items, BATCH))
        rates["put"].append(len(items) / sum(seconds(partial(put, batch)) for batch in batches))
        rates["get"].append(len(items) / sum(seconds(partial(get, len(batch))) for batch in batches))
    return {f"{side}_per_second": spread(found) for side, found in rates.items()}
