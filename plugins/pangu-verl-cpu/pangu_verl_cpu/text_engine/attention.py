"""Attention for decoding on a CPU, registered with transformers as ``pangu_cpu_decoding``.

torch's kernel runs one task per query head, however short: with one new token a row most of its time goes to setting
up. Here the heads that share a key are passed as that many query positions of one head, a fifth of the time at 64
rows. Longer queries (the prefill) and masks are transformers' own.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

#: The value of ``attn_implementation`` in transformers.
DECODING_ATTENTION = "pangu_cpu_decoding"


def decoding_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """``query`` of shape (rows, heads, queries, head size), in transformers' signature and with its result."""
    rows, heads, queries, head_size = query.shape
    if queries > 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    grouped = query.view(rows, key.shape[1], -1, head_size)
    output = F.scaled_dot_product_attention(grouped, key, value, attn_mask=attention_mask, scale=scaling)
    return output.reshape(rows, 1, heads, head_size), None


AttentionInterface.register(DECODING_ATTENTION, decoding_attention)
AttentionMaskInterface.register(DECODING_ATTENTION, sdpa_mask)
