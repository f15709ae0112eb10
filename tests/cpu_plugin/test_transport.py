"""The transport: what rank 0 of the trainer sends through the mailbox, every rollout worker receives, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import ray
import torch
from pangu_verl_cpu.transport import ObjectStoreTransport
from pangu_verl_cpu.weights import BUCKET_BYTES
from verl.checkpoint_engine import CheckpointEngineRegistry

pytestmark = pytest.mark.usefixtures("cluster")

Weights = list[tuple[str, torch.Tensor]]
BUCKET = 1000


@pytest.fixture(scope="module")
def master(cluster: None) -> ObjectStoreTransport:
    """One for the module, as one serves a whole run."""
    return CheckpointEngineRegistry.new("pangu_cpu", bucket_size=BUCKET, is_master=True)


def connect(master: ObjectStoreTransport, trainer_ranks: int, rollout_ranks: int) -> list[ObjectStoreTransport]:
    """What verl's manager does before a publication; returns all ends, the master first."""
    trainers = [
        master,
        *(CheckpointEngineRegistry.new("pangu_cpu", bucket_size=BUCKET) for _ in range(1, trainer_ranks)),
    ]
    rollouts = [CheckpointEngineRegistry.new("pangu_cpu", bucket_size=BUCKET) for _ in range(rollout_ranks)]
    metadata = [end.prepare() for end in [*trainers, *rollouts]]
    for ends, keywords in zip(
        (trainers, rollouts), ObjectStoreTransport.build_topology(trainer_ranks, rollout_ranks, metadata), strict=True
    ):
        for index, end in enumerate(ends):
            end.init_process_group(**{name: values[index] for name, values in keywords.items()})
    return [*trainers, *rollouts]


async def received(end: ObjectStoreTransport) -> Weights:
    return [(name, tensor.clone()) async for name, tensor in end.receive_weights(global_steps=1)]


def publish(ends: list[ObjectStoreTransport], trainer_ranks: int, weights: Weights) -> list[Any]:
    """What each end returns: the senders their metrics, the receivers the weights. Receivers are there first."""

    async def all_at_once() -> list[Any]:
        receiving = [asyncio.ensure_future(received(end)) for end in ends[trainer_ranks:]]
        await asyncio.sleep(0)
        sent = [await end.send_weights(iter(weights), global_steps=1) for end in ends[:trainer_ranks]]
        return [*sent, *await asyncio.gather(*receiving)]

    returned = asyncio.run(all_at_once())
    for end in ends:
        end.finalize()
    return returned


def some_weights(seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    sizes = {"first": (3, 5), "big": (40, 30), "scalar": (), "last": (7,), "half": (11, 11)}
    weights = [(name, torch.randn(size, generator=generator)) for name, size in sizes.items()]
    return [(name, tensor.bfloat16() if name == "half" else tensor) for name, tensor in weights]


def same(first: Iterable[tuple[str, torch.Tensor]], second: Iterable[tuple[str, torch.Tensor]]) -> bool:
    return all(
        n == m and t.dtype == u.dtype and torch.equal(t, u) for (n, t), (m, u) in zip(first, second, strict=True)
    )


def test_every_receiver_gets_all_weights_in_order(master: ObjectStoreTransport) -> None:
    weights = some_weights(0)
    assert weights[1][1].nbytes > BUCKET
    _, *all_received = publish(connect(master, 1, 3), 1, weights)
    assert [same(one, weights) for one in all_received] == [True, True, True]


def test_a_second_publication_brings_its_own_weights_alone(master: ObjectStoreTransport) -> None:
    for seed in (1, 2):
        _, one = publish(connect(master, 1, 1), 1, some_weights(seed))
        assert same(one, some_weights(seed))


def test_a_finished_publication_keeps_nothing(master: ObjectStoreTransport) -> None:
    """Whoever asks after it waits for the next one."""
    publish(connect(master, 1, 1), 1, some_weights(7))
    asking = master._mailbox.get.remote(0)  # type: ignore[union-attr]
    publish(connect(master, 1, 1), 1, some_weights(8))
    [bucket] = ray.get(ray.get(asking))
    assert same(bucket.tensors(), some_weights(8)[:1])


def test_finishing_before_anything_was_sent_is_accepted() -> None:
    ObjectStoreTransport(bucket_size=BUCKET, is_master=True).finalize()


def test_a_publication_after_a_broken_one_starts_afresh(master: ObjectStoreTransport) -> None:
    def breaking() -> Any:
        yield from some_weights(3)
        raise RuntimeError("a worker died")

    ends = connect(master, 1, 1)
    with pytest.raises(RuntimeError, match="a worker died"):
        asyncio.run(master.send_weights(breaking()))
    for end in ends:
        end.finalize()
    _, one = publish(connect(master, 1, 1), 1, some_weights(4))
    assert same(one, some_weights(4))


def test_the_trainers_other_ranks_walk_through_the_weights_and_send_none(master: ObjectStoreTransport) -> None:
    """Gathering a sharded weight is a collective: a rank that stopped would hang the others."""
    ends, walked = connect(master, 3, 1), []

    def weights() -> Any:
        for name_and_tensor in some_weights(5):
            walked.append(name_and_tensor[0])
            yield name_and_tensor

    assert asyncio.run(ends[1].send_weights(weights())) == {}
    assert walked == [name for name, _ in some_weights(5)]
    first, second, third, one = publish(ends, 3, some_weights(5))
    assert (set(first), second, third, same(one, some_weights(5))) == ({"pangu_cpu/published_bytes/sum"}, {}, {}, True)


def test_the_bytes_that_were_sent_are_reported(master: ObjectStoreTransport) -> None:
    metrics, _ = publish(connect(master, 1, 1), 1, [("weight", torch.zeros(64))])
    assert metrics == {"pangu_cpu/published_bytes/sum": 256.0}


def test_asynchronous_weights_are_sent_too(master: ObjectStoreTransport) -> None:
    async def weights() -> AsyncIterator[tuple[str, torch.Tensor]]:
        for name_and_tensor in some_weights(6):
            yield name_and_tensor

    ends = connect(master, 1, 1)

    async def both() -> Weights:
        receiving = asyncio.ensure_future(received(ends[1]))
        await master.send_weights(weights())
        return await receiving

    assert same(asyncio.run(both()), some_weights(6))


def test_no_weights_end_at_once(master: ObjectStoreTransport) -> None:
    assert publish(connect(master, 1, 1), 1, []) == [{"pangu_cpu/published_bytes/sum": 0.0}, []]


@pytest.mark.parametrize(("bucket_size", "expected"), [(1000, 1000), (2048 << 20, BUCKET_BYTES)])
def test_buckets_keep_to_verls_bound_and_to_ours(bucket_size: int, expected: int) -> None:
    assert ObjectStoreTransport(bucket_size=bucket_size)._bucket_bytes == expected
