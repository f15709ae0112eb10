"""The rollout server: verl's server interface in front of a text engine, as one Ray actor.

Invariants: a completion carries the version of the weights that made it; weights are replaced whole, between two
steps of the engine. What a CPU has no use for (sleep levels, cache release, profiling) is accepted and does nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import ray
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.rollout.replica import TokenOutput

from pangu_verl_cpu import threads
from pangu_verl_cpu.text_engine import DECODING_ATTENTION, Completion, EngineError, Sampling, TextEngine
from pangu_verl_cpu.weights import Bucket, checksum, load


def model_dtype(name: str) -> torch.dtype:
    """torch's type for ``rollout.dtype``; "auto" is bfloat16 where the processor multiplies in it."""
    if name == "auto":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    known = {"bfloat16": torch.bfloat16, "float32": torch.float32, "bf16": torch.bfloat16, "fp32": torch.float32}
    if name not in known:
        raise EngineError(f"unknown actor_rollout_ref.rollout.dtype={name!r} (known: auto, {', '.join(known)})")
    return known[name]


@ray.remote
class CPUServer:
    """One model, one engine."""

    def __init__(self, config: Any, model_config: Any, replica_rank: int) -> None:
        self._config = omega_conf_to_dataclass(config)
        self._model_config = omega_conf_to_dataclass(model_config)
        self._futures: dict[str, Future[Completion]] = {}
        self._model = AutoModelForCausalLM.from_pretrained(
            self._model_config.local_path,
            dtype=model_dtype(self._config.dtype),
            attn_implementation=DECODING_ATTENTION,
            trust_remote_code=self._model_config.trust_remote_code,
        )
        self._engine = TextEngine(
            self._model,
            eos_token_ids=self._eos_token_ids(self._model),
            pad_token_id=self._model_config.tokenizer.pad_token_id,
            max_rows=self._config.max_num_seqs,
            max_prefill_tokens=self._config.max_num_batched_tokens,
            seed=self._config.seed + replica_rank,
            before_work=threads.claim,
        )

    def _eos_token_ids(self, model: PreTrainedModel) -> list[int]:
        declared = model.generation_config.eos_token_id
        declared = declared if isinstance(declared, list) else [declared]
        known = {*declared, self._model_config.tokenizer.eos_token_id} - {None}
        return sorted(known)

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling_params: Mapping[str, Any],
        request_id: str,
        image_data: Any = None,
        video_data: Any = None,
        priority: int = 0,
        **unsupported: Any,
    ) -> TokenOutput:
        """Generate one segment; ``extra_fields["global_steps"]`` is the version of the weights that made it."""
        asked_for = {"image_data": image_data, "video_data": video_data, **unsupported}
        if names := [name for name, value in asked_for.items() if value is not None]:
            raise EngineError(f"the CPU rollout takes text alone, got {names[0]}")
        room_tokens = self._config.prompt_length + self._config.response_length - len(prompt_ids)
        default_max_new_tokens = max(1, min(self._config.response_length, room_tokens))
        sampling = Sampling.from_parameters(sampling_params, default_max_new_tokens)
        completion = await self._complete(request_id, self._engine.submit(prompt_ids, sampling, priority))
        if completion is None:
            return TokenOutput(token_ids=[], log_probs=[], stop_reason="aborted", num_preempted=0)
        return TokenOutput(
            token_ids=completion.token_ids,
            log_probs=completion.log_probs,
            stop_reason=completion.stop_reason,
            num_preempted=0,
            extra_fields={"global_steps": completion.version},
        )

    async def _complete(self, request_id: str, future: Future[Completion]) -> Completion | None:
        """None for a request that was aborted by its name."""
        self._futures[request_id] = future
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            return None
        finally:
            del self._futures[request_id]

    async def abort_request(self, request_id: str, reset_prefix_cache: bool = True) -> dict[str, Any]:
        """Stop one request, which nobody waits for any more; its tokens are lost."""
        future = self._futures.get(request_id)
        return {"aborted": future is not None and future.cancel(), "request_id": request_id}

    async def update_weights(self, references: list[ray.ObjectRef], global_steps: int | None) -> None:
        """Replace all weights by those in ``references`` and publish them as version ``global_steps``."""
        received: list[Bucket] = await asyncio.gather(*references)
        await asyncio.to_thread(self._engine.change_weights, lambda model: load(model, received), global_steps)

    async def set_global_steps(self, global_steps: int) -> None:
        """Publish the present weights as version ``global_steps``."""
        await asyncio.to_thread(self._engine.change_weights, lambda _: None, global_steps)

    async def weights_checksum(self) -> str:
        """Of the weights in use; servers with the same weights give the same."""
        return await asyncio.to_thread(checksum, self._model)

    async def abort_all_requests(
        self, reset_prefix_cache: bool = True, reject_request: bool = False
    ) -> dict[str, int | list[str]]:
        """End what is in flight with the tokens it has; later requests wait for ``resume_generation`` (or end)."""
        count = await asyncio.to_thread(self._engine.pause, reject=reject_request)
        return {"aborted_count": count, "request_ids": []}

    async def resume_generation(self) -> None:
        self._engine.resume()

    async def statistics(self) -> dict[str, Any]:
        """Busy and idle seconds, tokens and requests since the start, and the version in use."""
        return {**dataclasses.asdict(self._engine.statistics()), "version": self._engine.version}

    async def wake_up(self, tags: list[str] | None = None) -> None:
        return None

    async def sleep(self) -> None:
        return None

    async def clear_kv_cache(self) -> None:
        return None

    async def release_kv_cache(self) -> None:
        return None

    async def resume_kv_cache(self) -> None:
        return None

    async def start_profile(self, **_: Any) -> None:
        return None

    async def stop_profile(self) -> None:
        return None
