"""Lags of trained tokens, and advantages weighted by them: against slow references, and in verl's loss."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from verl.trainer.ppo.core_algos import agg_loss

from pangu_verl.integrations.verl.scheduling.loss.token_lags import NOT_TRAINED, at_their_places, trained_lags
from pangu_verl.integrations.verl.scheduling.loss.weighting import weighed
from pangu_verl.integrations.verl.scheduling.segments import without_first
from pangu_verl.queue.entries import Segment

VERSION = 9


class Made(NamedTuple):
    """A trajectory: masks of its rows before and after the first tokens left them, and who made which token."""

    masks: list[torch.Tensor]
    fresh: list[torch.Tensor]
    segments: tuple[Segment, ...]
    num_masked: int


@st.composite
def trajectories(draw: st.DrawFn) -> Made:
    cells = draw(st.lists(st.lists(st.integers(0, 1), max_size=8), min_size=1, max_size=4))
    masks = [torch.tensor(row, dtype=torch.int64) for row in cells]
    versions = sorted(draw(st.integers(0, VERSION)) for row in cells for cell in row if cell)
    segments = tuple(Segment(version, versions.count(version)) for version in sorted(set(versions)))
    num_masked = draw(st.integers(0, len(versions)))
    return Made(masks, without_first(masks, num_masked), segments, num_masked)


def by_hand(made: Made) -> list[list[int]]:
    """Token by token: the version that made it, unless it is nobody's or over the bound."""
    versions = [segment.version for segment in made.segments for _ in range(segment.tokens)]
    place, found = 0, []
    for mask in made.masks:
        row = []
        for cell in mask.tolist():
            is_trained = bool(cell) and place >= made.num_masked
            row.append(VERSION - versions[place] if is_trained else NOT_TRAINED)
            place += cell
        found.append(row)
    return found


def lags_of(made: Made) -> list[torch.Tensor]:
    return at_their_places(made.fresh, trained_lags(made.segments, made.num_masked, VERSION))


@settings(deadline=None)
@given(made=trajectories())
def test_every_trained_token_has_the_lag_of_its_own_segment(made: Made) -> None:
    assert [row.tolist() for row in lags_of(made)] == by_hand(made)


@settings(deadline=None)
@given(made=trajectories(), weight=st.floats(0.05, 1.0), advantage=st.floats(-4.0, 4.0, width=32))
def test_advantages_are_multiplied_token_by_token(made: Made, weight: float, advantage: float) -> None:
    for mask, lags, expected in zip(made.fresh, lags_of(made), by_hand(made), strict=True):
        advantages = mask.float() * advantage
        found = weighed(advantages, lags, weight)
        reference = [value * weight ** max(lag, 0) for value, lag in zip(advantages.tolist(), expected, strict=True)]
        assert found.dtype == torch.float32
        assert found.tolist() == pytest.approx(reference, rel=1e-6, abs=1e-30)


@settings(deadline=None)
@given(made=trajectories(), weight=st.floats(0.05, 1.0), seed=st.integers(0, 2**16))
def test_what_is_fresh_or_masked_keeps_every_bit(made: Made, weight: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for lags in lags_of(made):
        advantages = torch.randn(len(lags), generator=generator)
        assert torch.equal(weighed(advantages, lags, weight)[lags <= 0], advantages[lags <= 0])
        assert torch.equal(weighed(advantages, lags, 1.0), advantages)


@pytest.mark.parametrize("loss_agg_mode", ["token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean"])
def test_the_gradient_of_a_token_is_multiplied_and_no_mean_changes(loss_agg_mode: str) -> None:
    """At ratio 1 the loss of a token is -A times its ratio, so the gradient carries the weight alone."""
    lags = torch.tensor([[2, 2, 1, 0, 0], [1, 0, NOT_TRAINED, NOT_TRAINED, NOT_TRAINED]])
    mask = (lags != NOT_TRAINED).float()
    advantages = torch.tensor([[1.5], [-0.5]]) * mask

    def gradient(given_advantages: torch.Tensor) -> torch.Tensor:
        ratio = torch.ones_like(mask, requires_grad=True)
        agg_loss(-given_advantages * ratio, mask, loss_agg_mode, global_batch_size=2).backward()
        assert ratio.grad is not None
        return ratio.grad

    weights = torch.where(lags > 0, 0.5 ** lags.clamp(min=0), 1.0)
    assert torch.allclose(gradient(weighed(advantages, lags, 0.5)), gradient(advantages) * weights)
