"""The cache with room: what transformers' own cache holds, whatever is appended, picked or replaced in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pangu_verl_cpu.text_engine import EngineError
from pangu_verl_cpu.text_engine.key_values import _GROWTH_TOKENS, GrowingLayer, growing_cache
from transformers import LlamaForCausalLM, MistralConfig
from transformers.cache_utils import DynamicLayer

HEADS, KEY_SIZE, VALUE_SIZE = 2, 4, 3


def states(rows: int, length: int, size: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, HEADS, length, size, generator=torch.Generator().manual_seed(seed))


class Pair:
    """A layer with room beside one of transformers; every change is made to both."""

    def __init__(self, rows: int, length: int) -> None:
        self.layers = (GrowingLayer(), DynamicLayer())
        self.append(length, seed=0, rows=rows)

    def append(self, length: int, seed: int, rows: int | None = None) -> None:
        rows = len(self.layers[1].keys) if rows is None else rows
        new = states(rows, length, KEY_SIZE, seed), states(rows, length, VALUE_SIZE, -1 - seed)
        returned = [layer.update(*new) for layer in self.layers]
        for mine, theirs in zip(*returned, strict=True):
            assert torch.equal(mine, theirs)

    def change(self, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
        for layer in self.layers:
            layer.keys, layer.values = how(layer.keys), how(layer.values)

    def check(self) -> None:
        mine, theirs = self.layers
        assert torch.equal(mine.keys, theirs.keys)
        assert torch.equal(mine.values, theirs.values)
        assert mine.get_seq_length() == theirs.get_seq_length()


changes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "last rows": lambda kept: kept[-1:],
    "first rows": lambda kept: kept[:1],
    "picked rows": lambda kept: kept[torch.arange(len(kept)).flip(0)],
    "first columns dropped": lambda kept: kept[:, :, 1:],
    "last columns dropped": lambda kept: kept[:, :, :-1],
    "rows joined": lambda kept: torch.cat([kept, kept + 1]),
    "padded": lambda kept: torch.nn.functional.pad(kept, (0, 0, 2, 0)),
}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(st.tuples(st.just("append"), st.sampled_from([1, 1, 1, 5, 70])), st.sampled_from(sorted(changes))),
        max_size=12,
    )
)
def test_it_holds_what_transformers_own_holds(program: list[Any]) -> None:
    pair = Pair(rows=2, length=3)
    for seed, step in enumerate(program, start=1):
        if isinstance(step, tuple):
            pair.append(step[1], seed)
        elif pair.layers[0].get_seq_length() > 1 and len(pair.layers[0].keys) < 16:
            pair.change(changes[step])
        pair.check()


def test_states_handed_out_earlier_do_not_change() -> None:
    pair = Pair(rows=2, length=3)
    pair.append(1, seed=1)
    earlier = pair.layers[0].keys
    copy = earlier.clone()
    pair.append(1, seed=2)
    assert torch.equal(earlier, copy)


def test_a_step_writes_in_place_until_the_room_is_full() -> None:
    pair = Pair(rows=2, length=3)
    places = []
    for seed in range(1, 2 * _GROWTH_TOKENS):
        pair.append(1, seed)
        places.append(pair.layers[0].keys.data_ptr())
    assert len(set(places)) == 2


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_positions_that_depend_on_other_rows_are_refused(
    kind: str, make_llama: Callable[..., LlamaForCausalLM]
) -> None:
    rope: dict[str, Any] = {"rope_type": kind, "rope_theta": 10000.0, "factor": 2.0}
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 2, "long_factor": [2.0] * 2, "original_max_position_embeddings": 32}
    with pytest.raises(EngineError, match=kind):
        growing_cache(make_llama(torch.float32, rope_parameters=rope).config)


def test_windows_are_refused() -> None:
    with pytest.raises(EngineError, match="full attention in every layer"):
        growing_cache(MistralConfig(num_hidden_layers=1, sliding_window=8))
