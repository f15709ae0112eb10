"""Reward managers and trajectories in verl's own container, made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto

from pangu_verl.integrations.verl.reward_manager import PanguRewardManager


def make_manager(tokenizer: Any, function: Callable[..., Any] | None = None, **rewards: Any) -> PanguRewardManager:
    custom = {"path": "mine.py" if function else None, "name": "compute_score"}
    config = {"reward": {"custom_reward_function": custom}, "pangu": {"rewards": rewards}}
    return PanguRewardManager(OmegaConf.create(config), tokenizer, function)


def data(tokenizer: Any, *responses: str, padding: int = 0, **columns: Any) -> DataProto:
    """One trajectory of verl: a row per output, the prompt before the response, padded on the right."""
    found: dict[str, Any] = {
        "data_source": "sums",
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "4"},
        "extra_info": {"index": 7},
        "raw_prompt": [{"role": "user", "content": "What is 1 + 3?"}],
        **columns,
    }
    rows = [
        torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=torch.int64) for text in responses
    ]
    pad = torch.nn.utils.rnn.pad_sequence
    ids = torch.nn.functional.pad(pad(rows, batch_first=True), (0, padding))
    mask = torch.nn.functional.pad(pad([torch.ones_like(row) for row in rows], batch_first=True), (0, padding))
    prompts = torch.ones(len(rows), 3, dtype=torch.int64)
    batch = {"prompts": prompts, "responses": ids, "attention_mask": torch.cat([torch.ones_like(prompts), mask], dim=1)}
    non_tensor = {name: np.array([value] * len(rows)) for name, value in found.items() if value is not ...}
    return DataProto(batch=TensorDict(batch, batch_size=len(rows)), non_tensor_batch=non_tensor)
