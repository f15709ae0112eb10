"""Qwen3-8B by its shape: its configuration, its parameters, and what training and answering with it take of a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GIB = 2**30
SHAPE: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": 151_936,
    "hidden_size": 4_096,
    "intermediate_size": 12_288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40_960,
    "tie_word_embeddings": False,
}
_HIDDEN, _VOCABULARY, _LAYERS = SHAPE["hidden_size"], SHAPE["vocab_size"], SHAPE["num_hidden_layers"]
_HEADS, _KEY_VALUE_HEADS, _HEAD = SHAPE["num_attention_heads"], SHAPE["num_key_value_heads"], SHAPE["head_dim"]

EMBEDDING = _VOCABULARY * _HIDDEN
LAYER = (
    2 * _HIDDEN * _HEADS * _HEAD  # queries and the output
    + 2 * _HIDDEN * _KEY_VALUE_HEADS * _HEAD
    + 3 * _HIDDEN * SHAPE["intermediate_size"]
    + 2 * _HEAD  # norms of queries and keys
    + 2 * _HIDDEN  # norms
)
PARAMETERS = 2 * EMBEDDING + _LAYERS * LAYER + _HIDDEN
#: Of what one layer keeps for the backward pass without recomputation, for each token, with fused attention.
_ACTIVATION_BYTES = 34 * _HIDDEN


def write_shape(folder: Path) -> None:
    """Make the model in ``folder`` one of this shape, without weights."""
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    (folder / "config.json").write_text(json.dumps(SHAPE))


def fsdp2_gib(devices: int, tokens: int) -> list[float]:
    """State, gathered weights, activations and logits on each of ``devices``."""
    gathered = 2 * (2 * EMBEDDING + 2 * LAYER)
    activations = 2 * tokens * _HIDDEN * _LAYERS + tokens * _ACTIVATION_BYTES
    return _gib(16 * PARAMETERS / devices, gathered, activations, 4 * 2 * tokens * _VOCABULARY)


def megatron_gib(devices: int, tokens: int, tensor_parallel: int) -> list[float]:
    """As ``fsdp2_gib``, for Megatron with its distributed optimizer and sequence parallelism."""
    state = PARAMETERS * (6 / tensor_parallel + 12 / devices)
    activations = tokens * _LAYERS * _ACTIVATION_BYTES / tensor_parallel
    return _gib(state, 0, activations, 4 * 4 * tokens * _VOCABULARY / tensor_parallel)


def rollout_weights_gib(tensor_parallel: int) -> float:
    """Of each device."""
    return 2 * PARAMETERS / tensor_parallel / GIB


def cached_sequences(budget_gib: float, tensor_parallel: int, tokens: int) -> int:
    """How many sequences of ``tokens`` a server can hold beside the weights in ``budget_gib`` of each device."""
    token_bytes = _LAYERS * 2 * _KEY_VALUE_HEADS * _HEAD * 2 / tensor_parallel
    return int((budget_gib - rollout_weights_gib(tensor_parallel)) * GIB / token_bytes / tokens)


def _gib(*sizes: float) -> list[float]:
    return [size / GIB for size in sizes]
