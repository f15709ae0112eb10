"""A key-value cache with room to grow: a decoding step writes in place instead of copying all that is there.

transformers' own dynamic cache joins old and new states anew for each token, a copy of the whole cache per step.
Invariant: ``keys`` and ``values`` are what transformers expects of a layer, and may be replaced by anyone; room that
was set aside for other tensors is then forgotten.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

from pangu_verl_cpu.text_engine.requests import EngineError

_GROWTH_TOKENS = 64


class GrowingLayer(DynamicLayer):
    """A layer of full attention."""

    keys: torch.Tensor
    values: torch.Tensor
    _key_room: torch.Tensor | None = None
    _value_room: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append states of shape (rows, heads, new tokens, head size); returns all of them."""
        if not self.is_initialized or self.keys.numel() == 0:
            return super().update(key_states, value_states, *args, **kwargs)
        self._key_room, self.keys = _append(self._key_room, self.keys, key_states)
        self._value_room, self.values = _append(self._value_room, self.values, value_states)
        return self.keys, self.values


def _append(room: torch.Tensor | None, states: torch.Tensor, new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Write ``new`` behind ``states``, in ``room`` if they lie there and fit, else in a new one."""
    length, needed = states.shape[2], states.shape[2] + new.shape[2]
    if room is None or room.data_ptr() != states.data_ptr() or room.shape[2] < needed or len(room) != len(states):
        shape = (*states.shape[:2], needed + _GROWTH_TOKENS, states.shape[3])
        room = states.new_empty(shape)
        room[:, :, :length] = states
    room[:, :, length:needed] = new
    return room, room[:, :, :needed]


def growing_cache(config: PretrainedConfig) -> DynamicCache:
    """An empty cache for a model whose rows do not touch each other; raises ``EngineError`` for another."""
    cache = DynamicCache(config=config)
    for layer in cache.layers:
        if type(layer) is not DynamicLayer:
            kind = type(layer).__name__
            raise EngineError(f"the CPU engine serves models with full attention in every layer, this one has a {kind}")
    rope_type = (getattr(config, "rope_parameters", None) or {}).get("rope_type")
    if rope_type in ("dynamic", "longrope"):
        raise EngineError(f"the CPU engine has no rope_type {rope_type!r}: there the longest row changes the others")
    cache.layers = [GrowingLayer() for _ in cache.layers]
    return cache
