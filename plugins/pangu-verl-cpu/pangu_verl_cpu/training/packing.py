"""Sequences packed for one forward pass: each different prompt once, then the responses, with no padding.

The members of a GRPO group share their prompt, so its tokens need to be computed once and not once per response.
Invariant: every token sees its own prompt and what precedes it in its own response, as if its sequence stood alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

#: Added to the score of a key that a query must not see; finite in bfloat16 as well.
_HIDDEN = float(torch.finfo(torch.bfloat16).min)


class Rows:
    """Packed rows and their place in a padded rectangle."""

    def __init__(self, lengths: torch.Tensor) -> None:
        self.lengths = lengths
        self.longest = int(lengths.max())
        self.ends = lengths.cumsum(dim=0)
        starts = self.ends - lengths
        padding_before = torch.arange(len(lengths)) * self.longest - starts
        self._places = torch.arange(int(self.ends[-1])) + torch.repeat_interleave(padding_before, lengths)
        #: Position of each token in its own row.
        self.positions = torch.arange(int(self.ends[-1])) - torch.repeat_interleave(starts, lengths)

    def pad(self, states: torch.Tensor) -> torch.Tensor:
        """(heads, tokens, size) to (rows, heads, longest, size), zero where a row has ended."""
        heads, _, size = states.shape
        padded = states.new_zeros(len(self.lengths) * self.longest, heads, size)
        padded = padded.index_copy(0, self._places, states.transpose(0, 1))
        return padded.view(len(self.lengths), self.longest, heads, size).transpose(1, 2)

    def unpad(self, states: torch.Tensor) -> torch.Tensor:
        """(rows, heads, longest, size) to (tokens, heads, size)."""
        return states.transpose(1, 2).flatten(0, 1).index_select(0, self._places)

    def causal_bias(self) -> torch.Tensor:
        """What to add to scores of shape (rows, heads, longest, longest)."""
        return torch.full((1, 1, self.longest, self.longest), _HIDDEN).triu(diagonal=1)


@dataclass(frozen=True, slots=True)
class Packing:
    """One packed forward pass. ``prompts`` may be whole sequences, with no responses behind them."""

    token_ids: torch.Tensor
    position_ids: torch.Tensor
    prompts: Rows
    prompt_bias: torch.Tensor
    responses: Rows | None = None
    #: Row of ``prompts`` that each response follows.
    prompt_of: torch.Tensor | None = None
    response_bias: torch.Tensor | None = None
    #: For every token of the responses the place of the token that predicts it.
    predictors: torch.Tensor | None = None


def pack_whole(token_ids: torch.Tensor, lengths: torch.Tensor) -> Packing:
    """Sequences as they are, ``token_ids`` one behind the other."""
    rows = Rows(lengths)
    return Packing(token_ids, rows.positions, rows, rows.causal_bias())


def pack_sharing_prompts(sequences: Sequence[torch.Tensor], response_lengths: torch.Tensor) -> Packing:
    """Sequences of a prompt (of at least a token) and a response, equal prompts once."""
    prompt_rows: dict[tuple[int, ...], int] = {}
    prompt_of, response_ids = [], []
    for sequence, length in zip(sequences, response_lengths.tolist(), strict=True):
        prompt = tuple(sequence[: len(sequence) - length].tolist())
        prompt_of.append(prompt_rows.setdefault(prompt, len(prompt_rows)))
        response_ids.append(sequence[len(sequence) - length :])
    prompts = Rows(torch.tensor([len(prompt) for prompt in prompt_rows]))
    responses = Rows(response_lengths)
    index = torch.tensor(prompt_of)
    prompt_ids = torch.tensor([token for prompt in prompt_rows for token in prompt])
    offsets = torch.repeat_interleave(prompts.lengths[index], response_lengths)
    return Packing(
        token_ids=torch.cat([prompt_ids, *response_ids]),
        position_ids=torch.cat([prompts.positions, responses.positions + offsets]),
        prompts=prompts,
        prompt_bias=prompts.causal_bias(),
        responses=responses,
        prompt_of=index,
        response_bias=_response_bias(prompts, responses, index),
        predictors=_predictors(prompts, responses, index),
    )


def _response_bias(prompts: Rows, responses: Rows, prompt_of: torch.Tensor) -> torch.Tensor:
    """For scores of shape (responses, heads, longest response, longest prompt + longest response)."""
    beyond_prompt = torch.arange(prompts.longest) >= prompts.lengths[prompt_of][:, None]
    prompt_part = torch.zeros(beyond_prompt.shape).masked_fill(beyond_prompt, _HIDDEN)[:, None, None, :]
    shape = (len(prompt_of), 1, responses.longest, -1)
    return torch.cat([prompt_part.expand(shape), responses.causal_bias().expand(shape)], dim=3)


def _predictors(prompts: Rows, responses: Rows, prompt_of: torch.Tensor) -> torch.Tensor:
    """The last token of the prompt predicts the first of the response, every other is predicted by the one before."""
    first_response = int(prompts.ends[-1])
    one_before = torch.arange(first_response - 1, first_response - 1 + len(responses.positions))
    prompt_ends = torch.repeat_interleave(prompts.ends[prompt_of] - 1, responses.lengths)
    return torch.where(responses.positions == 0, prompt_ends, one_before)
