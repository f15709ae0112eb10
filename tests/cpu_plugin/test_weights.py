"""Weights in buckets: nothing is lost or bent on the way, and a model takes all of them or none."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pangu_verl_cpu.text_engine import EngineError
from pangu_verl_cpu.weights import Bucket, buckets, checksum, load
from transformers import LlamaForCausalLM

Weights = list[tuple[str, torch.Tensor]]

FLOATING = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn]
OTHER = [torch.int64, torch.int32, torch.uint8, torch.int8, torch.bool]


def pack(weights: Iterable[tuple[str, torch.Tensor]], **options: Any) -> list[Bucket]:
    async def pack_them() -> list[Bucket]:
        async def one_by_one() -> AsyncIterator[tuple[str, torch.Tensor]]:
            for name_and_tensor in weights:
                yield name_and_tensor

        return [bucket async for bucket in buckets(one_by_one(), **options)]

    return asyncio.run(pack_them())


def unpack(packed: Iterable[Bucket]) -> Weights:
    return [pair for bucket in packed for pair in bucket.tensors()]


def noise(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Any bits, NaN among them; a bool holds no others than 0 and 1."""
    high = 2 if dtype == torch.bool else 256
    count_bytes = int(np.prod(shape)) * dtype.itemsize
    return torch.randint(0, high, (count_bytes,), dtype=torch.uint8).view(dtype).reshape(shape)


def bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


shapes = st.one_of(st.just(()), st.lists(st.integers(0, 7), min_size=1, max_size=3).map(tuple))


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.tuples(shapes, st.sampled_from(FLOATING + OTHER)), max_size=8),
    bucket_bytes=st.sampled_from([1, 16, 100, 1 << 20]),
)
def test_every_bit_comes_back(kinds: list[tuple[tuple[int, ...], torch.dtype]], bucket_bytes: int) -> None:
    weights = [(f"weight {index}", noise(shape, dtype)) for index, (shape, dtype) in enumerate(kinds)]
    returned = unpack(pack(weights, bucket_bytes=bucket_bytes))
    assert [(n, t.dtype, t.shape, bits(t)) for n, t in returned] == [(n, t.dtype, t.shape, bits(t)) for n, t in weights]


@pytest.mark.parametrize(
    "view",
    [lambda t: t.t(), lambda t: t[::2], lambda t: t[:, 1:3], lambda t: t[0].expand(5, -1)],
    ids=["transposed", "strided", "column slice", "expanded"],
)
def test_views_are_packed_as_they_read(view: Any) -> None:
    tensor = view(torch.arange(24.0).reshape(4, 6))
    [(_, returned)] = unpack(pack([("weight", tensor)]))
    assert torch.equal(returned, tensor)


def test_a_parameter_with_gradient_is_packed_without() -> None:
    [(_, returned)] = unpack(pack([("weight", torch.nn.Parameter(torch.ones(3)))]))
    assert not returned.requires_grad


def test_buckets_keep_to_their_size() -> None:
    packed = pack([(f"weight {index}", torch.zeros(8)) for index in range(10)], bucket_bytes=100)
    assert [len(bucket.entries) for bucket in packed] == [3, 3, 3, 1]


def test_a_tensor_above_the_size_of_a_bucket_has_one_to_itself() -> None:
    sizes = {"small": 4, "big": 1000, "last": 4}
    packed = pack([(name, torch.zeros(size)) for name, size in sizes.items()], bucket_bytes=100)
    assert [[entry.name for entry in bucket.entries] for bucket in packed] == [["small"], ["big"], ["last"]]


def test_no_weights_make_no_bucket() -> None:
    assert pack([]) == []


def test_floating_point_weights_are_cast_and_others_kept() -> None:
    weights = [("weight", torch.full((3,), 1.0009765625)), ("steps", torch.tensor(2**40 + 1))]
    returned = dict(unpack(pack(weights, dtype=torch.bfloat16)))
    assert torch.equal(returned["weight"], torch.ones(3, dtype=torch.bfloat16))
    assert torch.equal(returned["steps"], torch.tensor(2**40 + 1))


def test_a_read_only_bucket_is_unpacked_without_a_warning() -> None:
    """As Ray hands out what it maps from its store."""
    [bucket] = pack([("weight", torch.arange(5.0))])
    bucket.data.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [(_, returned)] = unpack([bucket])
    assert torch.equal(returned, torch.arange(5.0))


# Into a model


def named_weights(model: LlamaForCausalLM) -> Weights:
    return [(name, torch.randn_like(tensor)) for name, tensor in model.state_dict().items()]


def snapshot(model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_model_takes_all_weights_in_place(model: LlamaForCausalLM) -> None:
    places = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    weights = named_weights(model)
    load(model, pack(weights, bucket_bytes=1000))
    assert same(model.state_dict(), dict(weights))
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == places


def test_the_order_of_the_weights_does_not_matter(model: LlamaForCausalLM) -> None:
    weights = named_weights(model)
    load(model, pack(reversed(weights)))
    assert same(model.state_dict(), dict(weights))


def test_weights_of_another_floating_type_are_cast(model: LlamaForCausalLM) -> None:
    weights = named_weights(model)
    load(model, pack(weights, dtype=torch.bfloat16))
    assert same(model.state_dict(), {name: tensor.bfloat16().to(tensor.dtype) for name, tensor in weights})


def broken(weights: Weights, how: str) -> Weights:
    name, tensor = weights[-1]
    return {
        "missing": weights[:-1],
        "unknown": [*weights, ("model.surplus.weight", tensor)],
        "misshapen": [*weights[:-1], (name, tensor.T.contiguous())],
        "flattened": [*weights[:-1], (name, tensor.reshape(-1))],
    }[how]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", r"no weights for lm_head.weight \(1 in all\)"),
        ("unknown", r"'model.surplus.weight' that the rollout model does not have"),
        ("misshapen", r"'lm_head.weight' has shape \(16, 24\), expected \(24, 16\)"),
        ("flattened", r"'lm_head.weight' has shape \(384,\), expected \(24, 16\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(how: str, message: str, model: LlamaForCausalLM) -> None:
    with pytest.raises(EngineError, match=message):
        load(model, pack(broken(named_weights(model), how)))


@pytest.mark.parametrize("how", ["missing", "unknown", "misshapen", "flattened"])
def test_refused_weights_change_nothing(how: str, model: LlamaForCausalLM) -> None:
    before = snapshot(model)
    with pytest.raises(EngineError):
        load(model, pack(broken(named_weights(model), how)))
    assert same(model.state_dict(), before)


def test_many_missing_weights_are_counted_and_three_of_them_named(model: LlamaForCausalLM) -> None:
    with pytest.raises(EngineError, match=r"no weights for [^,]+, [^,]+, [^,]+ \(\d\d in all\)"):
        load(model, pack(named_weights(model)[:2]))


@pytest.mark.parametrize("left_out", ["lm_head.weight", "model.embed_tokens.weight"])
def test_tied_weights_count_once(left_out: str, make_llama: Any) -> None:
    model = make_llama(torch.float32, tie_word_embeddings=True)
    weights = [pair for pair in named_weights(model) if pair[0] != left_out]
    load(model, pack(weights))
    assert torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)


def test_a_tied_weight_that_is_sent_under_no_name_is_missing(make_llama: Any) -> None:
    model = make_llama(torch.float32, tie_word_embeddings=True)
    weights = [pair for pair in named_weights(model) if "lm_head" not in pair[0] and "embed_tokens" not in pair[0]]
    with pytest.raises(EngineError, match="embed_tokens"):
        load(model, pack(weights))


def test_models_with_the_same_weights_have_the_same_checksum(model: LlamaForCausalLM, make_llama: Any) -> None:
    other = make_llama(torch.float64)
    other.load_state_dict(model.state_dict())
    assert checksum(other) == checksum(model)


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_one_changed_bit_changes_the_checksum(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    layer = torch.nn.Linear(size, 1, dtype=torch.bfloat16)
    before = checksum(layer)
    bits = layer.weight.data.view(torch.int16)
    bits[0, data.draw(st.integers(0, size - 1))] ^= 1 << data.draw(st.integers(0, 14))
    assert checksum(layer) != before


def test_weights_that_changed_places_change_the_checksum(model: LlamaForCausalLM) -> None:
    first, second, *_ = [p for p in model.parameters() if p.ndim == 2 and p.shape[0] == p.shape[1]]
    before = checksum(model)
    kept = first.data.clone()
    first.data.copy_(second.data)
    second.data.copy_(kept)
    assert checksum(model) != before
