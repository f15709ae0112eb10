"""verl's FSDP engine for a CPU: packed sequences, and the vocabulary scored only where a response is predicted.

On a CPU, scoring 50,000 words behind every token of every prompt costs more time and memory than the layers below.
Invariant: the log-probabilities (and entropies) of the responses' tokens are those of verl's own engine; the entries of
prompt tokens, which no loss reads, are zero. Whatever needs all scores goes verl's own way.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from tensordict import TensorDict
from torch.utils.checkpoint import checkpoint
from verl.utils import tensordict_utils, torch_functional
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from pangu_verl_cpu import threads
from pangu_verl_cpu.training import attention as attention
from pangu_verl_cpu.training.packing import Packing, pack_sharing_prompts, pack_whole

#: Rows of scores that are in fp32 at a time.
_CHUNK_TOKENS = 128
_NEEDS_ALL_SCORES = ("use_fused_kernels", "calculate_sum_pi_squared", "distillation_use_topk", "distillation_only")


@EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cpu")
class CPUEngine(FSDPEngineWithLMHead):
    """Trains a causal language model. Acts with ``use_remove_padding``; without it this is verl's engine."""

    def forward_backward_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As verl's, with all compute threads, which TransferQueue resets after each of its calls."""
        threads.claim()
        return super().forward_backward_batch(*args, **kwargs)

    def prepare_model_inputs(self, micro_batch: TensorDict) -> tuple[dict[str, Any], dict[str, Any]]:
        """The model's arguments, and what ``prepare_model_outputs`` needs besides its output."""
        if self._needs_responses_alone(micro_batch):
            packing = pack_sharing_prompts(micro_batch["input_ids"].unbind(), _lengths(micro_batch["responses"]))
            return _arguments(packing) | {"logits_to_keep": packing.predictors}, {"packing": packing}
        inputs, output_arguments = super().prepare_model_inputs(micro_batch)
        if self.use_remove_padding:
            packing = pack_whole(micro_batch["input_ids"].values(), _lengths(micro_batch["input_ids"]))
            inputs |= _arguments(packing)
        return inputs, output_arguments

    def prepare_model_outputs(
        self, output: Any, output_args: dict[str, Any], micro_batch: TensorDict, logits_processor_func: Any
    ) -> dict[str, torch.Tensor]:
        """Nested log-probabilities, and entropies if asked for, one entry per token of the micro-batch."""
        if "packing" not in output_args:
            return super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        response_lengths = _lengths(micro_batch["responses"])
        temperature = torch.as_tensor(micro_batch["temperature"], dtype=torch.float32).expand(len(response_lengths))
        temperature = torch.repeat_interleave(temperature, response_lengths)[:, None].clamp(min=1e-8)
        logits = output.logits[0]
        packed_ids = output_args["packing"].token_ids
        response_ids = packed_ids[len(packed_ids) - len(logits) :]
        with_entropy = tensordict_utils.get_non_tensor_data(micro_batch, key="calculate_entropy", default=False)
        found = _judge_in_chunks(logits, temperature, response_ids, with_entropy=with_entropy)
        return {name: _among_prompts(values, micro_batch) for name, values in found.items()}

    def _needs_responses_alone(self, micro_batch: TensorDict) -> bool:
        return (
            self.use_remove_padding
            and "responses" in micro_batch.keys()  # noqa: SIM118 - a TensorDict iterates over its rows
            and micro_batch["responses"].is_nested
            and not any(tensordict_utils.get_non_tensor_data(micro_batch, key, False) for key in _NEEDS_ALL_SCORES)
        )


def _judge_in_chunks(
    logits: torch.Tensor, temperature: torch.Tensor, token_ids: torch.Tensor, *, with_entropy: bool
) -> dict[str, torch.Tensor]:
    """Log-probability (and entropy) of each token under its row of ``logits``, in fp32.

    Each chunk is computed again on the way back: a vocabulary's worth of fp32 numbers for every token of a micro-batch,
    several times over, would be the largest thing in memory.
    """
    parts = [
        checkpoint(_judge, *chunk, with_entropy, use_reentrant=False)
        for chunk in zip(*(tensor.split(_CHUNK_TOKENS) for tensor in (logits, temperature, token_ids)), strict=True)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _judge(
    logits: torch.Tensor, temperature: torch.Tensor, token_ids: torch.Tensor, with_entropy: bool
) -> dict[str, torch.Tensor]:
    scores = logits.float() / temperature
    found = {"log_probs": -F.cross_entropy(scores, token_ids, reduction="none")}
    if with_entropy:
        found["entropy"] = torch_functional.entropy_from_logits(scores)
    return found


def _arguments(packing: Packing) -> dict[str, Any]:
    return {
        "input_ids": packing.token_ids[None],
        "position_ids": packing.position_ids[None],
        "attention_mask": None,
        "packing": packing,
    }


def _lengths(nested: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = nested.offsets().diff()  # type: ignore[attr-defined]
    return lengths


def _among_prompts(values: torch.Tensor, micro_batch: TensorDict) -> torch.Tensor:
    """Values of the responses' tokens as verl lays them out: with the prompts, each where its token is predicted."""
    offsets = micro_batch["input_ids"].offsets()
    ends, lengths = offsets[1:].tolist(), _lengths(micro_batch["responses"]).tolist()
    places = torch.cat([torch.arange(end - 1 - length, end - 1) for end, length in zip(ends, lengths, strict=True)])
    return torch.nested.nested_tensor_from_jagged(
        values.new_zeros(int(offsets[-1])).index_copy(0, places, values), offsets
    )
