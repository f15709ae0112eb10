"""Packing: each token gets the scores and gives the gradients that it would with its sequence alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pangu_verl_cpu.training.attention import PACKED_ATTENTION, packed_attention
from pangu_verl_cpu.training.packing import Packing, Rows, pack_sharing_prompts, pack_whole
from transformers import LlamaForCausalLM

#: A prompt and its response.
Pair = tuple[list[int], list[int]]

# The models are in float64, but transformers' softmax is in float32: one weight rounded otherwise shows in the seventh
# place. Measured: 1e-15 for log-probabilities, 1e-5 for gradients, whose backward pass rounds as well.
TOLERANCE = 1e-6
GRADIENT_TOLERANCE = 1e-4

GROUPS: list[Pair] = [
    ([3, 4, 5], [6, 7]),
    ([8], [9, 10, 11, 12]),
    ([3, 4, 5], [6, 7, 2, 2]),
    ([3, 4, 5], [13]),
    ([8], [9]),
]


@pytest.fixture(scope="module")
def packed_model(make_llama: Callable[..., LlamaForCausalLM]) -> LlamaForCausalLM:
    return make_llama(torch.float64, attn_implementation=PACKED_ATTENTION)


@pytest.fixture(scope="module")
def eager_model(make_llama: Callable[..., LlamaForCausalLM]) -> LlamaForCausalLM:
    return make_llama(torch.float64, attn_implementation="eager")


def pack(sequences: Sequence[Pair]) -> Packing:
    return pack_sharing_prompts(
        [torch.tensor(prompt + response) for prompt, response in sequences],
        torch.tensor([len(response) for _, response in sequences]),
    )


def pack_all(sequences: Sequence[list[int]]) -> Packing:
    return pack_whole(torch.cat([torch.tensor(s) for s in sequences]), torch.tensor([len(s) for s in sequences]))


def scores(model: LlamaForCausalLM, packing: Packing) -> torch.Tensor:
    """Of what predicts the responses, or of all tokens without them."""
    return model(
        input_ids=packing.token_ids[None],
        position_ids=packing.position_ids[None],
        attention_mask=None,
        packing=packing,
        logits_to_keep=0 if packing.predictors is None else packing.predictors,
        use_cache=False,
    ).logits[0]


def log_probs(scores: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
    return scores.log_softmax(dim=-1).gather(1, token_ids[:, None]).squeeze(1)


def packed_log_probs(model: LlamaForCausalLM, packing: Packing) -> torch.Tensor:
    found = scores(model, packing)
    return log_probs(found, packing.token_ids[len(packing.token_ids) - len(found) :])


def log_probs_alone(model: LlamaForCausalLM, sequences: Sequence[Pair]) -> torch.Tensor:
    alone = []
    for prompt, response in sequences:
        found = model(torch.tensor([prompt + response]), use_cache=False).logits[0, len(prompt) - 1 : -1]
        alone.append(log_probs(found, torch.tensor(response, dtype=torch.long)))
    return torch.cat(alone)


def gradients(model: LlamaForCausalLM, of: torch.Tensor) -> dict[str, torch.Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(of, parameters), strict=True))


@st.composite
def groups(draw: st.DrawFn) -> list[Pair]:
    """Responses to few prompts, in any order."""
    token = st.integers(0, 23)
    prompts = draw(st.lists(st.lists(token, min_size=1, max_size=6), min_size=1, max_size=3))
    pairs = st.tuples(st.sampled_from(prompts), st.lists(token, min_size=1, max_size=7))
    return draw(st.lists(pairs, min_size=1, max_size=6))


@settings(max_examples=40, deadline=None)
@given(groups())
def test_any_group_has_the_log_probabilities_of_its_sequences_alone(
    packed_model: LlamaForCausalLM, eager_model: LlamaForCausalLM, sequences: list[Pair]
) -> None:
    with torch.no_grad():
        found, expected = packed_log_probs(packed_model, pack(sequences)), log_probs_alone(eager_model, sequences)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


@settings(max_examples=20, deadline=None)
@given(groups())
def test_any_group_has_the_gradients_of_its_sequences_alone(
    packed_model: LlamaForCausalLM, eager_model: LlamaForCausalLM, sequences: list[Pair]
) -> None:
    found = gradients(packed_model, packed_log_probs(packed_model, pack(sequences)).sum())
    expected = gradients(eager_model, log_probs_alone(eager_model, sequences).sum())
    torch.testing.assert_close(found, expected, atol=GRADIENT_TOLERANCE, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 23), min_size=1, max_size=9), min_size=1, max_size=6))
def test_whole_sequences_have_their_scores_alone(
    packed_model: LlamaForCausalLM, eager_model: LlamaForCausalLM, sequences: list[list[int]]
) -> None:
    with torch.no_grad():
        found = scores(packed_model, pack_all(sequences))
        expected = torch.cat([eager_model(torch.tensor([sequence])).logits[0] for sequence in sequences])
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_whole_sequences_have_their_gradients_alone(
    packed_model: LlamaForCausalLM, eager_model: LlamaForCausalLM
) -> None:
    sequences = [prompt + response for prompt, response in GROUPS]
    found = scores(packed_model, pack_all(sequences)).log_softmax(dim=-1)[:, 5].sum()
    expected = sum(eager_model(torch.tensor([s])).logits[0].log_softmax(dim=-1)[:, 5].sum() for s in sequences)
    torch.testing.assert_close(
        gradients(packed_model, found), gradients(eager_model, expected), atol=GRADIENT_TOLERANCE, rtol=0
    )


@pytest.mark.parametrize(
    "sequences",
    [
        [([3, 4, 5], [6, 7])],
        [([3], [4])],
        [([3, 4], [5]), ([3, 4], [6]), ([7], [8])],
        [([3, 4], [5, 6]), ([3, 4], [5, 6])],
        [([3, 4], [5, 6]), ([3, 4, 5], [6])],
    ],
    ids=["one sequence", "two tokens", "single tokens", "equal responses", "equal tokens, split otherwise"],
)
def test_special_groups_have_the_log_probabilities_of_their_sequences_alone(
    sequences: list[Pair], packed_model: LlamaForCausalLM, eager_model: LlamaForCausalLM
) -> None:
    with torch.no_grad():
        found, expected = packed_log_probs(packed_model, pack(sequences)), log_probs_alone(eager_model, sequences)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_an_empty_response_leaves_the_others_alone(
    packed_model: LlamaForCausalLM, eager_model: LlamaForCausalLM
) -> None:
    """verl keeps the row of a request that ended before its first token, if no reward came with it."""
    sequences: list[Pair] = [([3, 4], []), *GROUPS, ([8], [])]
    with torch.no_grad():
        found, expected = packed_log_probs(packed_model, pack(sequences)), log_probs_alone(eager_model, GROUPS)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_changing_one_response_changes_no_other(packed_model: LlamaForCausalLM) -> None:
    changed = [*GROUPS[:2], (GROUPS[2][0], [11, 11, 11, 11]), *GROUPS[3:]]
    with torch.no_grad():
        before, after = (packed_log_probs(packed_model, pack(group)) for group in (GROUPS, changed))
    same = [*range(6), *range(10, 12)]
    torch.testing.assert_close(before[same], after[same], atol=0, rtol=0)
    assert (before[6:10] != after[6:10]).all()


def test_equal_prompts_are_packed_once() -> None:
    packing = pack(GROUPS)
    assert len(packing.token_ids) == 3 + 1 + (2 + 4 + 4 + 1 + 1)
    assert packing.token_ids[:4].tolist() == [3, 4, 5, 8]


def test_responses_come_in_the_order_given() -> None:
    assert pack(GROUPS).token_ids[4:].tolist() == [token for _, response in GROUPS for token in response]


def test_each_response_is_told_its_prompt() -> None:
    prompt_of = pack(GROUPS).prompt_of
    assert prompt_of is not None and prompt_of.tolist() == [0, 1, 0, 0, 1]


def test_positions_are_those_of_the_sequences_alone() -> None:
    positions = pack([([3, 4, 5], [6, 7]), ([8], [9, 9]), ([3, 4, 5], [6])]).position_ids
    assert positions.tolist() == [0, 1, 2] + [0] + [3, 4] + [1, 2] + [3]


def test_each_token_of_a_response_has_the_one_before_as_predictor() -> None:
    predictors = pack([([3, 4, 5], [6, 7]), ([8], [9, 9]), ([3, 4, 5], [6])]).predictors
    assert predictors is not None and predictors.tolist() == [2, 4] + [3, 6] + [2]


def test_a_whole_sequence_has_neither_responses_nor_predictors() -> None:
    packing = pack_all([[3, 4], [5]])
    assert (packing.responses, packing.prompt_of, packing.predictors) == (None, None, None)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any))
def test_what_is_padded_is_unpadded_unchanged(lengths: list[int]) -> None:
    rows = Rows(torch.tensor(lengths))
    states = torch.arange(2.0 * sum(lengths) * 3).view(2, sum(lengths), 3)
    assert torch.equal(rows.unpad(rows.pad(states)), states.transpose(0, 1))


def test_a_row_is_padded_behind_with_zeros() -> None:
    padded = Rows(torch.tensor([1, 3, 2])).pad(torch.arange(1.0, 7.0).view(1, 6, 1))
    assert padded.squeeze().tolist() == [[1, 0, 0], [2, 3, 4], [5, 6, 0]]


def test_in_mixed_precision_it_rounds_no_more_than_eager_attention(make_llama: Callable[..., LlamaForCausalLM]) -> None:
    """As verl trains: parameters in float32, products in bfloat16. Measured: no difference to eager attention, and of
    both 0.04 to float32.
    """
    packed = make_llama(torch.float32, attn_implementation=PACKED_ATTENTION)
    eager = make_llama(torch.float32, attn_implementation="eager")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found, expected = packed_log_probs(packed, pack(GROUPS)), log_probs_alone(eager, GROUPS)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_hidden_tokens_have_no_weight_in_half_precision(dtype: torch.dtype) -> None:
    packing = pack(GROUPS)
    tokens = len(packing.token_ids)
    # The values tell the tokens apart: whoever sees one that is hidden has more than its own row's largest.
    values = torch.zeros(1, 1, tokens, 1, dtype=dtype)
    values[0, 0, 4:6] = 1  # the first response
    nothing = torch.zeros(1, 1, tokens, 1, dtype=dtype)
    output, _ = packed_attention(torch.nn.Module(), nothing, nothing, values, None, scaling=1.0, packing=packing)
    seen = output.flatten()
    assert seen.isfinite().all()
    assert [place for place, value in enumerate(seen.tolist()) if value] == [4, 5]


@pytest.mark.parametrize(
    "unsupported",
    [
        {"dropout": 0.1},
        {"sliding_window": 8},
        {"softcap": 30.0},
        {"s_aux": torch.ones(1)},
        {"attention_mask": torch.ones(1)},
    ],
    ids=str,
)
def test_what_it_cannot_do_is_refused_with_the_key_to_set(unsupported: dict[str, Any]) -> None:
    packing = pack(GROUPS)
    states = torch.zeros(1, 1, len(packing.token_ids), 2)
    arguments: dict[str, Any] = {"attention_mask": None, "scaling": 1.0, "packing": packing} | unsupported
    with pytest.raises(NotImplementedError, match=r"override_config\.attn_implementation=eager"):
        packed_attention(torch.nn.Module(), states, states, states, **arguments)
