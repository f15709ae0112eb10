"""The batch: rows that join, grow, and leave see what they would see alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pangu_verl_cpu.text_engine import EngineError, Sampling
from pangu_verl_cpu.text_engine.decoding import DecodingBatch
from pangu_verl_cpu.text_engine.requests import Request
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

PAD = 0
RAGGED = [(3, 4, 5), (6,), (7, 8, 9, 10, 11, 12, 13), (2, 2)]


def request(prompt: Sequence[int]) -> Request:
    return Request(tuple(prompt), Sampling(max_new_tokens=50), priority=0, arrival=0)


class CheckedBatch:
    """A batch beside the sequences that its rows should hold."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.batch = DecodingBatch(model, PAD)
        self.sequences: list[list[int]] = []
        self._model = model

    def join(self, prompts: Sequence[Sequence[int]]) -> None:
        self.batch.join([request(prompt) for prompt in prompts])
        self.sequences += [list(prompt) for prompt in prompts]

    def advance(self, tokens: Sequence[int]) -> None:
        self.batch.advance(tokens)
        for sequence, token in zip(self.sequences, tokens, strict=True):
            sequence.append(token)

    def keep(self, rows: Sequence[int]) -> None:
        self.batch.keep(rows)
        self.sequences = [self.sequences[row] for row in rows]

    def check(self) -> None:
        assert len(self.batch) == len(self.sequences)
        for scores, sequence in zip(self.batch.logits() if self.sequences else [], self.sequences, strict=True):
            plain = self._model(torch.tensor([sequence]), use_cache=False).logits[0, -1]
            torch.testing.assert_close(scores, plain, atol=1e-10, rtol=0)

    @property
    def columns(self) -> int:
        return self.batch._mask.shape[1]


@pytest.fixture
def checked(shared_model: LlamaForCausalLM) -> CheckedBatch:
    return CheckedBatch(shared_model)


@pytest.fixture(autouse=True)
def no_gradients() -> Any:
    with torch.inference_mode():
        yield


def test_ragged_prompts_are_padded_without_effect(checked: CheckedBatch) -> None:
    checked.join(RAGGED)
    checked.check()


def test_rows_grow_without_seeing_each_other(checked: CheckedBatch) -> None:
    checked.join(RAGGED)
    for tokens in ([3, 4, 5, 6], [7, 7, 7, 7], [2, 3, 2, 3]):
        checked.advance(tokens)
        checked.check()


@pytest.mark.parametrize("late", [(9, 8, 7, 6, 5, 4, 3, 2, 3, 4, 5, 6), (5,)], ids=["longer", "shorter"])
def test_a_late_row_joins_whatever_its_length(checked: CheckedBatch, late: tuple[int, ...]) -> None:
    checked.join(RAGGED)
    checked.advance([3, 4, 5, 6])
    checked.join([late])
    checked.check()
    checked.advance([3, 4, 5, 6, 7])
    checked.check()


def test_rows_leave_from_the_front_the_middle_and_the_end(checked: CheckedBatch) -> None:
    checked.join(RAGGED + RAGGED)
    checked.advance(range(2, 10))
    checked.keep([1, 2, 5, 6])
    checked.check()
    checked.advance([3, 4, 5, 6])
    checked.check()


def test_columns_of_the_longest_row_leave_with_it(checked: CheckedBatch) -> None:
    checked.join(RAGGED)
    assert checked.columns == 7
    checked.keep([0, 1, 3])
    assert checked.columns == 3
    checked.check()


def test_an_emptied_batch_starts_afresh(checked: CheckedBatch) -> None:
    checked.join(RAGGED)
    checked.keep([])
    assert (len(checked.batch), checked.columns) == (0, 0)
    checked.join([(4, 5)])
    checked.check()


def test_an_empty_batch_has_no_scores(checked: CheckedBatch) -> None:
    with pytest.raises(RuntimeError, match="no rows"):
        checked.batch.logits()


def test_equal_prompts_are_prefilled_once(model: LlamaForCausalLM) -> None:
    shapes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(lambda _, __, inputs: shapes.append(inputs["input_ids"].shape), with_kwargs=True)
    batch = DecodingBatch(model, PAD)
    batch.join([request(prompt) for prompt in [(3, 4), (5, 6, 7), (3, 4), (3, 4)]])
    assert shapes == [(2, 3)]
    assert torch.equal(batch.logits()[0], batch.logits()[3])
    assert not torch.equal(batch.logits()[0], batch.logits()[1])


def test_rows_of_one_prompt_part_after_the_prefill(checked: CheckedBatch) -> None:
    checked.join([(3, 4), (5, 6, 7), (3, 4)])
    checked.advance([8, 9, 10])
    checked.advance([8, 9, 11])
    checked.check()


def test_pad_tokens_inside_a_prompt_are_read(checked: CheckedBatch) -> None:
    checked.join([(PAD, PAD, 3), (3,), (3, 4, 5, 6)])
    checked.check()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_order_of_joining_growing_and_leaving_is_right(shared_model: LlamaForCausalLM, data: st.DataObject) -> None:
    token = st.integers(0, 23)
    checked = CheckedBatch(shared_model)
    with torch.inference_mode():
        for _ in range(data.draw(st.integers(1, 6))):
            prompts = st.lists(st.lists(token, min_size=1, max_size=6), min_size=1, max_size=3)
            rows = len(checked.sequences)
            match data.draw(st.sampled_from(["join", "advance", "keep"] if rows else ["join"])):
                case "join":
                    checked.join(data.draw(prompts))
                case "advance":
                    checked.advance(data.draw(st.lists(token, min_size=rows, max_size=rows)))
                case "keep":
                    checked.keep(sorted(data.draw(st.sets(st.integers(0, rows - 1)))))
            checked.check()


def test_learned_positions_are_counted_without_padding() -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=24, n_positions=16, n_embd=16, n_layer=2, n_head=2, initializer_range=0.4)
    checked = CheckedBatch(GPT2LMHeadModel(config).double().eval())
    checked.join(RAGGED)
    checked.advance([3, 4, 5, 6])
    checked.check()


def test_a_model_with_windows_is_refused_before_it_serves() -> None:
    config = MistralConfig(vocab_size=24, hidden_size=16, intermediate_size=32, num_hidden_layers=1, sliding_window=8)
    config.num_attention_heads = config.num_key_value_heads = 2
    with pytest.raises(EngineError, match="full attention in every layer"):
        DecodingBatch(MistralForCausalLM(config), PAD)


def test_a_sequence_may_outgrow_the_room_of_its_cache(make_llama: Callable[..., LlamaForCausalLM]) -> None:
    checked = CheckedBatch(make_llama(torch.float64, max_position_embeddings=256))
    checked.join(RAGGED)
    for step in range(150):
        checked.advance([2 + (row + step) % 20 for row in range(4)])
    checked.check()
