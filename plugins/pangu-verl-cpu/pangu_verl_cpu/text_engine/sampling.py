"""Draws the next token of every row and tells the log-probability with which it was drawn.

Invariant: the log-probability belongs to the distribution that the token really came from (temperature, top-k and
top-p applied), which is what an importance ratio needs. A greedy token carries that of the model's own distribution;
where the scores are not finite, so is not the log-probability.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from pangu_verl_cpu.text_engine.requests import Sampling

_BLOCK_TOKENS = 256


def sample(
    logits: torch.Tensor, samplings: Sequence[Sampling], generator: torch.Generator
) -> tuple[list[int], list[float]]:
    """Tokens and log-probabilities for ``logits`` of shape (rows, vocabulary), one ``Sampling`` per row."""
    rows_by_kind: dict[tuple[float, float, int], list[int]] = defaultdict(list)
    for row, sampling in enumerate(samplings):
        rows_by_kind[(sampling.temperature, sampling.top_p, sampling.top_k)].append(row)

    tokens, log_probs = [0] * len(samplings), [0.0] * len(samplings)
    for (temperature, top_p, top_k), rows in rows_by_kind.items():
        scores = logits if len(rows) == len(samplings) else logits[rows]
        drawn, drawn_log_probs = _sample_alike(scores.float(), temperature, top_p, top_k, generator)
        for row, token, log_prob in zip(rows, drawn.tolist(), drawn_log_probs.tolist(), strict=True):
            tokens[row], log_probs[row] = token, log_prob
    return tokens, log_probs


def _sample_alike(
    scores: torch.Tensor, temperature: float, top_p: float, top_k: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    if temperature == 0:
        drawn = scores.argmax(dim=-1)
        return drawn, torch.log_softmax(scores, dim=-1).gather(1, drawn[:, None]).squeeze(1)
    probabilities = torch.softmax(_warpers(temperature, top_p, top_k)(None, scores), dim=-1)
    drawn = _inverse_transform(probabilities, generator)
    return drawn, probabilities.gather(1, drawn[:, None]).squeeze(1).log()


def _warpers(temperature: float, top_p: float, top_k: int) -> LogitsProcessorList:
    warpers = LogitsProcessorList()
    if temperature != 1.0:
        warpers.append(TemperatureLogitsWarper(temperature))
    if top_k > 0:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1.0:
        warpers.append(TopPLogitsWarper(top_p))
    return warpers


def _inverse_transform(probabilities: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One uniform number per row instead of torch.multinomial's one per token: on a CPU the latter costs as much as
    the model itself (64 rows of 49,152 tokens: about 65 ms). First the block is found, then the token in it.

    The first entry whose cumulative probability exceeds the threshold is never one of probability 0.
    """
    rows, size = probabilities.shape
    blocks = F.pad(probabilities, (0, -size % _BLOCK_TOKENS)).view(rows, -1, _BLOCK_TOKENS)
    by_block = blocks.sum(dim=2).cumsum(dim=1, dtype=torch.float64)
    total = by_block[:, -1:]
    uniform = torch.rand(rows, 1, generator=generator, dtype=torch.float64)
    block, threshold = _search(by_block, uniform * total)
    within = blocks[torch.arange(rows), block.squeeze(1)].cumsum(dim=1, dtype=torch.float64)
    token, _ = _search(within, threshold)
    # NaN would point past the vocabulary.
    return (block * _BLOCK_TOKENS + token).clamp(max=size - 1).squeeze(1)


def _search(cumulative: torch.Tensor, threshold: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first entry of each row that exceeds its threshold, and what the threshold exceeds the entry before by."""
    total = cumulative[:, -1:]
    # Rounding may bring the threshold up to the total, past the last entry.
    threshold = torch.minimum(threshold, torch.nextafter(total, torch.zeros_like(total)))
    found = torch.searchsorted(cumulative, threshold, right=True).clamp(max=cumulative.shape[1] - 1)
    before = torch.where(found > 0, cumulative.gather(1, (found - 1).clamp(min=0)), 0.0)
    return found, threshold - before
