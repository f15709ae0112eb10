"""A batch of sequences that are decoded together, with their key-value cache.

Rows are left-padded to one length so that each step is a plain forward pass of the transformers model. Rows join after
a prefill of their own and leave when done. Invariant: ``requests[i]``, row ``i`` of the cache, of the attention mask
and of the last token always speak of the same sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from transformers import DynamicCache, PreTrainedModel

from pangu_verl_cpu.text_engine.key_values import growing_cache
from pangu_verl_cpu.text_engine.requests import Request


class DecodingBatch:
    """Sequences in flight. All methods are for the engine's thread alone."""

    def __init__(self, model: PreTrainedModel, pad_token_id: int) -> None:
        self.requests: list[Request] = []
        self._model = model
        self._pad_token_id = pad_token_id
        self._last_position = int(model.config.max_position_embeddings) - 1
        self._cache: DynamicCache | None = None
        self._mask = torch.zeros(0, 0, dtype=torch.long)
        self._logits: torch.Tensor | None = None
        growing_cache(model.config)  # refuses a model that it has no cache for before the first request does

    def __len__(self) -> int:
        return len(self.requests)

    def join(self, requests: Sequence[Request]) -> None:
        """Prefill ``requests`` (equal prompts once: the members of a group share theirs) and add them as rows."""
        sequences = [request.prompt_token_ids for request in requests]
        unique = list(dict.fromkeys(sequences))
        index_of = {sequence: row for row, sequence in enumerate(unique)}
        rows = torch.tensor([index_of[sequence] for sequence in sequences])
        cache, mask, logits = self._prefill(unique)
        cache.batch_select_indices(rows)
        self._append(cache, mask[rows], logits[rows])
        self.requests.extend(requests)

    def logits(self) -> torch.Tensor:
        """Scores of the next token, shape (rows, vocabulary), of the last ``join`` or ``advance``."""
        if self._logits is None:
            raise RuntimeError("the batch has no rows")
        return self._logits

    def advance(self, tokens: Sequence[int]) -> None:
        """Append one token to each row and compute the scores that follow it."""
        self._mask = F.pad(self._mask, (0, 1), value=1)
        # Rows that are done and not yet dropped may run past the last position; what they compute is not used.
        positions = (self._mask.sum(dim=1, keepdim=True) - 1).clamp(max=self._last_position)
        output = self._model(
            input_ids=torch.tensor(tokens)[:, None],
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._logits = output.logits[:, -1]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, and the columns that only the dropped rows needed."""
        self.requests = [self.requests[row] for row in rows]
        if not rows:
            self._cache, self._logits = None, None
            self._mask = torch.zeros(0, 0, dtype=torch.long)
            return
        index = torch.tensor(rows)
        self._mask = self._mask[index]
        self._logits = self.logits()[index]
        unused_columns = int(self._mask.argmax(dim=1).min())
        self._mask = self._mask[:, unused_columns:]
        for layer in self._layers():
            layer.keys = layer.keys[index, :, unused_columns:]
            layer.values = layer.values[index, :, unused_columns:]

    def _prefill(self, sequences: Sequence[Sequence[int]]) -> tuple[DynamicCache, torch.Tensor, torch.Tensor]:
        length = max(len(sequence) for sequence in sequences)
        tokens = torch.full((len(sequences), length), self._pad_token_id)
        mask = torch.zeros(len(sequences), length, dtype=torch.long)
        for row, sequence in enumerate(sequences):
            tokens[row, length - len(sequence) :] = torch.tensor(sequence)
            mask[row, length - len(sequence) :] = 1
        cache = growing_cache(self._model.config)
        output = self._model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return cache, mask, output.logits[:, -1]

    def _append(self, cache: DynamicCache, mask: torch.Tensor, logits: torch.Tensor) -> None:
        if self._cache is None:
            self._cache, self._mask, self._logits = cache, mask, logits
            return
        length = max(self._mask.shape[1], mask.shape[1])
        for mine, theirs in zip(self._layers(), cache.layers, strict=True):
            mine.keys = torch.cat([_left_padded(mine.keys, length), _left_padded(theirs.keys, length)])
            mine.values = torch.cat([_left_padded(mine.values, length), _left_padded(theirs.values, length)])
        masks = [F.pad(m, (length - m.shape[1], 0)) for m in (self._mask, mask)]
        self._mask = torch.cat(masks)
        self._logits = torch.cat([self.logits(), logits])

    def _layers(self) -> Sequence[Any]:
        return self._cache.layers if self._cache is not None else ()


def _left_padded(states: torch.Tensor, length: int) -> torch.Tensor:
    """Pad the sequence axis of (rows, heads, sequence, head size) on the left."""
    return F.pad(states, (0, 0, length - states.shape[2], 0))
