"""Attention over a ``Packing``, registered with transformers as ``pangu_cpu_packed``.

Packing spares every other layer the padding; here alone rows are laid side by side. torch has no such kernel for a CPU,
and the backward pass of its general one is slower than the plain formula at the lengths that a CPU can train. Not for
decoding: there is no cache here.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface

from pangu_verl_cpu.training.packing import Packing

#: The value of ``attn_implementation`` in transformers.
PACKED_ATTENTION = "pangu_cpu_packed"


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    packing: Packing,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' signature: ``query`` of shape (1, heads, tokens, head size), ``key`` and ``value`` as many heads
    or a divisor of them. Returns (1, tokens, heads, head size) and no weights.
    """
    if dropout or sliding_window or softcap or s_aux is not None or attention_mask is not None:
        raise NotImplementedError(
            "packed attention on a CPU has no dropout, sliding window, soft cap, sinks or mask of its own; "
            "use actor_rollout_ref.model.override_config.attn_implementation=eager with use_remove_padding=false"
        )
    prompts, responses = packing.prompts, packing.responses
    prompt_tokens = len(prompts.positions)
    queries, keys, values = (prompts.pad(states[0, :, :prompt_tokens]) for states in (query, key, value))
    output = prompts.unpad(_attend(queries, keys, values, packing.prompt_bias, scaling))
    if responses is None or packing.prompt_of is None or packing.response_bias is None:
        return output[None], None
    prompt_keys, prompt_values = (states.index_select(0, packing.prompt_of) for states in (keys, values))
    queries, keys, values = (responses.pad(states[0, :, prompt_tokens:]) for states in (query, key, value))
    keys, values = torch.cat([prompt_keys, keys], dim=2), torch.cat([prompt_values, values], dim=2)
    of_responses = responses.unpad(_attend(queries, keys, values, packing.response_bias, scaling))
    return torch.cat([output, of_responses])[None], None


def _attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Plain attention of (rows, heads, queries, size) over (rows, groups, keys, size)."""
    rows, heads, length, size = queries.shape
    # The heads that share a key stand below each other: one product serves them all.
    scores = queries.reshape(rows, keys.shape[1], -1, size) @ keys.transpose(2, 3) * scaling
    scores = scores.view(rows, heads, length, keys.shape[2]) + bias.to(queries.dtype)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(queries.dtype)
    return (weights.view(rows, keys.shape[1], -1, keys.shape[2]) @ values).view(rows, heads, length, size)


AttentionInterface.register(PACKED_ATTENTION, packed_attention)
