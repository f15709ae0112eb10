"""Sampling: the right distribution, and the log-probability under it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pangu_verl_cpu.text_engine import Sampling
from pangu_verl_cpu.text_engine.sampling import _BLOCK_TOKENS, sample
from scipy.stats import chisquare

LOGITS = torch.tensor([2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -3.0])
DRAWS = 20_000

KINDS = [
    {},
    {"temperature": 0.6},
    {"temperature": 2.5},
    {"top_k": 3},
    {"top_k": 1},
    {"top_k": 100},
    {"top_p": 0.7},
    {"top_p": 0.01},
    {"temperature": 1.7, "top_k": 5, "top_p": 0.8},
]


def expected_distribution(temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> torch.Tensor:
    """Written out from the definitions: temperature, the k likeliest, then the smallest set with mass ``top_p``."""
    probabilities = (LOGITS.double() / temperature).softmax(dim=0)
    order = probabilities.argsort(descending=True)
    keep = torch.zeros(len(LOGITS), dtype=torch.bool)
    keep[order[:top_k] if top_k > 0 else order] = True
    probabilities = torch.where(keep, probabilities, 0.0)
    probabilities /= probabilities.sum()
    mass_before = 0.0
    for index in order:
        if mass_before >= top_p:
            keep[index] = False
        mass_before += float(probabilities[index])
    probabilities = torch.where(keep, probabilities, 0.0)
    return probabilities / probabilities.sum()


def draw(logits: torch.Tensor, kind: dict[str, Any], seed: int = 0) -> tuple[list[int], list[float]]:
    samplings = [Sampling(max_new_tokens=1, **kind)] * len(logits)
    return sample(logits, samplings, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_tokens_follow_the_truncated_distribution(kind: dict[str, Any]) -> None:
    expected = expected_distribution(**kind)
    tokens, _ = draw(LOGITS.expand(DRAWS, -1), kind)
    counts = torch.bincount(torch.tensor(tokens), minlength=len(LOGITS))
    possible = expected > 0
    assert counts[~possible].sum() == 0
    if possible.sum() > 1:
        assert chisquare(counts[possible].numpy(), (expected[possible] * DRAWS).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_log_probability_is_that_of_the_truncated_distribution(kind: dict[str, Any]) -> None:
    expected = expected_distribution(**kind)
    tokens, log_probs = draw(LOGITS.expand(200, -1), kind)
    assert log_probs == pytest.approx(expected[tokens].log().tolist(), abs=1e-5)


def test_greedy_takes_the_likeliest_token_with_the_models_own_log_probability() -> None:
    tokens, log_probs = draw(LOGITS.expand(3, -1), {"temperature": 0.0, "top_k": 2})
    assert tokens == [0, 0, 0]
    assert log_probs == pytest.approx([float(LOGITS.log_softmax(dim=0)[0])] * 3, abs=1e-6)


def test_the_lowest_temperature_is_all_but_greedy() -> None:
    tokens, log_probs = draw((LOGITS * 1e4).expand(50, -1), {"temperature": 1e-5})
    assert (set(tokens), set(log_probs)) == ({0}, {0.0})


def test_rows_of_different_kinds_keep_to_their_own() -> None:
    kinds = [{"temperature": 0.0}, {"top_k": 2}, {"top_p": 0.01}, {"temperature": 0.5}] * 50
    samplings = [Sampling(max_new_tokens=1, **kind) for kind in kinds]
    tokens, log_probs = sample(LOGITS.expand(200, -1), samplings, torch.Generator().manual_seed(0))
    for kind, token, log_prob in zip(kinds, tokens, log_probs, strict=True):
        distribution = LOGITS.softmax(dim=0) if kind == {"temperature": 0.0} else expected_distribution(**kind)
        assert log_prob == pytest.approx(math.log(distribution[token]), abs=1e-5)


def test_the_same_seed_draws_the_same_tokens() -> None:
    assert draw(LOGITS.expand(100, -1), {}, seed=3) == draw(LOGITS.expand(100, -1), {}, seed=3)


def test_another_seed_draws_other_tokens() -> None:
    assert draw(LOGITS.expand(100, -1), {}, seed=3) != draw(LOGITS.expand(100, -1), {}, seed=4)


def test_rows_are_drawn_independently() -> None:
    tokens, _ = draw(torch.zeros(200, 8), {})
    assert len(set(tokens)) == 8


@pytest.mark.parametrize(
    "kind", [{}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.5}, {"temperature": 0.0}], ids=str
)
def test_the_scores_are_left_alone(kind: dict[str, Any]) -> None:
    logits = LOGITS.repeat(4, 1)
    draw(logits, kind)
    assert torch.equal(logits, LOGITS.repeat(4, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_scores_of_any_floating_type_are_taken(dtype: torch.dtype) -> None:
    tokens, log_probs = draw(LOGITS.to(dtype).expand(50, -1), {"top_k": 3})
    assert log_probs == pytest.approx(expected_distribution(top_k=3)[tokens].log().tolist(), abs=1e-5)


@pytest.mark.parametrize("uniform", [0.0, math.nextafter(1.0, 0.0)])
@pytest.mark.parametrize("masked", [[0], [7], [0, 1, 6, 7], [0, 2, 4, 6]])
def test_the_ends_of_the_unit_interval_draw_possible_tokens(
    uniform: float, masked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, uniform, dtype=torch.float64))
    logits = LOGITS.clone()
    logits[masked] = -math.inf
    tokens, log_probs = draw(logits.expand(2, -1), {})
    possible = [token for token in range(8) if token not in masked]
    assert tokens == [possible[-1 if uniform else 0]] * 2
    assert all(math.isfinite(log_prob) for log_prob in log_probs)


def test_a_token_whose_probability_vanishes_is_not_drawn_by_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 1.0, dtype=torch.float64))
    tokens, _ = draw(torch.tensor([[0.0, 1.0, -500.0]]), {})
    assert tokens == [1]


@pytest.mark.parametrize("kind", [{}, {"temperature": 0.0}, {"top_p": 0.5}, {"top_k": 2}], ids=str)
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_row_without_finite_scores_says_so_and_spares_the_others(kind: dict[str, Any], poison: float) -> None:
    logits = LOGITS.repeat(3, 1)
    logits[1, 4] = poison
    tokens, log_probs = draw(logits, kind)
    assert [math.isfinite(log_prob) for log_prob in log_probs] == [True, False, True]
    assert all(0 <= token < 8 for token in tokens)


# Vocabularies of more than a block

SIZES = [1, 2, _BLOCK_TOKENS - 1, _BLOCK_TOKENS, _BLOCK_TOKENS + 1, 2 * _BLOCK_TOKENS, 3 * _BLOCK_TOKENS - 7]


def draw_at(uniform: float, logits: torch.Tensor) -> int:
    """The token that the number ``uniform`` of the unit interval stands for."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(torch, "rand", lambda *size, **_: torch.full(size, uniform, dtype=torch.float64))
        (token,), (log_prob,) = draw(logits[None], {})
    assert math.isfinite(log_prob)
    return token


@st.composite
def sparse_logits(draw: st.DrawFn) -> torch.Tensor:
    """Scores of which most may be impossible, whole blocks at times."""
    size = draw(st.sampled_from(SIZES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    logits = torch.randn(size, generator=generator) * draw(st.sampled_from([0.0, 1.0, 30.0]))
    possible = torch.rand(size, generator=generator) < draw(st.sampled_from([0.002, 0.1, 1.0]))
    possible[draw(st.integers(0, size - 1))] = True
    return logits.masked_fill(~possible, -math.inf)


UNIFORM = st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, math.nextafter(1.0, 0.0)])


@settings(max_examples=200, deadline=None)
@given(UNIFORM, sparse_logits())
def test_a_token_of_probability_zero_is_never_drawn(uniform: float, logits: torch.Tensor) -> None:
    assert logits.softmax(dim=0)[draw_at(uniform, logits)] > 0


@settings(max_examples=200, deadline=None)
@given(UNIFORM, sparse_logits())
def test_a_token_is_drawn_where_the_mass_before_it_and_its_own_say(uniform: float, logits: torch.Tensor) -> None:
    cumulative = logits.double().softmax(dim=0).cumsum(dim=0)
    token = draw_at(uniform, logits)
    # The probabilities are in float32, and each block sums hundreds of them.
    assert (cumulative[token - 1] if token else 0.0) - 1e-6 <= uniform <= cumulative[token] + 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_a_vocabulary_of_any_size_is_drawn_up_to_its_last_token(size: int) -> None:
    assert draw_at(math.nextafter(1.0, 0.0), torch.zeros(size)) == size - 1


@pytest.mark.parametrize("size", SIZES[2:])
def test_each_token_of_any_vocabulary_is_drawn(size: int) -> None:
    logits = torch.zeros(size)
    assert [draw_at((token + 0.5) / size, logits) for token in range(0, size, 17)] == list(range(0, size, 17))


@pytest.mark.parametrize("size", [_BLOCK_TOKENS - 56, 2 * _BLOCK_TOKENS + 88])
def test_tokens_follow_the_distribution_across_blocks(size: int) -> None:
    logits = torch.randn(size, generator=torch.Generator().manual_seed(size))
    tokens, _ = draw(logits.expand(DRAWS, -1), {})
    counts = torch.bincount(torch.tensor(tokens), minlength=size)
    assert chisquare(counts.numpy(), (logits.double().softmax(dim=0) * DRAWS).numpy()).pvalue > 1e-3


def test_the_log_probability_is_that_of_the_token_across_blocks() -> None:
    logits = torch.randn(700, generator=torch.Generator().manual_seed(0))
    tokens, log_probs = draw(logits.expand(200, -1), {"temperature": 2.0})
    assert log_probs == pytest.approx((logits / 2).log_softmax(dim=0)[tokens].tolist(), abs=1e-5)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 300, 699])
def test_scores_that_are_not_finite_draw_a_token_of_the_vocabulary(place: int, poison: float) -> None:
    logits = torch.zeros(2, 700)
    logits[0, place] = poison
    tokens, log_probs = draw(logits, {})
    assert all(0 <= token < 700 for token in tokens)
    assert [math.isfinite(log_prob) for log_prob in log_probs] == [False, True]
