"""Attention for decoding: transformers' own result, for one new token a row and for a prefill."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pangu_verl_cpu.text_engine import DECODING_ATTENTION, Sampling
from pangu_verl_cpu.text_engine.attention import decoding_attention
from pangu_verl_cpu.text_engine.decoding import DecodingBatch
from pangu_verl_cpu.text_engine.requests import Request
from transformers import LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.llama.modeling_llama import eager_attention_forward

ROWS, HEADS, HEAD_SIZE, KEYS, PAD = 3, 6, 8, 11, 0
SCALING = 0.3
# The softmax of transformers' eager attention is in float32 whatever the rest is in.
TOLERANCE = 1e-6


def attention_module(groups: int) -> torch.nn.Module:
    """What the functions read of the layer that calls them."""
    module = torch.nn.Module().eval()
    module.num_key_value_groups = HEADS // groups
    module.is_causal = True
    return module


def states(groups: int, queries: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Laid out as in a model: the projections give heads behind tokens."""
    generator = torch.Generator().manual_seed(groups)
    shapes = [(queries, HEADS), (KEYS, groups), (KEYS, groups)]
    query, key, value = (
        torch.randn(ROWS, tokens, heads, HEAD_SIZE, generator=generator, dtype=torch.float64).transpose(1, 2)
        for tokens, heads in shapes
    )
    return query, key, value


def visible(queries: int) -> torch.Tensor:
    """A different number of hidden columns at the left of each row, and causal over the last ``queries``."""
    columns = torch.arange(KEYS)
    padding = torch.tensor([0, 4, 7])[:, None, None, None]
    return (columns >= padding) & (columns <= torch.arange(KEYS - queries, KEYS)[:, None])


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("masked", [True, False], ids=["masked", "unmasked"])
def test_one_query_a_row_sees_what_eager_attention_sees(groups: int, masked: bool) -> None:
    mask = visible(queries=1) if masked else None
    bias = None if mask is None else torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, -1e30)
    module, inputs = attention_module(groups), states(groups, queries=1)
    found, weights = decoding_attention(module, *inputs, mask, scaling=SCALING)
    expected, _ = eager_attention_forward(module, *inputs, bias, scaling=SCALING)
    assert weights is None
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_a_mask_of_numbers_is_added() -> None:
    module, inputs = attention_module(2), states(2, queries=1)
    bias = torch.linspace(-3, 3, ROWS * KEYS, dtype=torch.float64).view(ROWS, 1, 1, KEYS)
    found, _ = decoding_attention(module, *inputs, bias, scaling=SCALING)
    expected, _ = eager_attention_forward(module, *inputs, bias, scaling=SCALING)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_without_a_scaling_it_is_that_of_the_head_size() -> None:
    module, inputs = attention_module(2), states(2, queries=1)
    found, _ = decoding_attention(module, *inputs, None)
    expected, _ = decoding_attention(module, *inputs, None, scaling=HEAD_SIZE**-0.5)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("groups", [2, 6])
@pytest.mark.parametrize("masked", [True, False], ids=["masked", "unmasked"])
def test_a_prefill_is_transformers_own(groups: int, masked: bool) -> None:
    module, inputs = attention_module(groups), states(groups, queries=4)
    mask = visible(queries=4) if masked else None
    found, _ = decoding_attention(module, *inputs, mask, scaling=SCALING)
    expected, _ = sdpa_attention_forward(module, *inputs, mask, scaling=SCALING)
    assert torch.equal(found, expected)


def request(prompt: tuple[int, ...]) -> Request:
    return Request(prompt, Sampling(max_new_tokens=50), priority=0, arrival=0)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_model_decodes_as_with_transformers_attention(
    groups: int, make_llama: Callable[..., LlamaForCausalLM]
) -> None:
    batches = []
    for attention in (DECODING_ATTENTION, "sdpa"):
        model = make_llama(torch.float64, num_key_value_heads=groups, attn_implementation=attention)
        with torch.inference_mode():
            batch = DecodingBatch(model, PAD)
            batch.join([request(prompt) for prompt in [(3, 4, 5), (6,), (7, 8, 9, 10, 11)]])
            batch.advance([3, 4, 5])
            batch.join([request((2, 2))])
            batch.advance([6, 7, 8, 9])
        batches.append(batch)
    found, expected = (batch.logits() for batch in batches)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
