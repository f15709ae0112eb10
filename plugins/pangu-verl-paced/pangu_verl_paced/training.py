"""verl's training engine ``pangu_paced``: takes batches, sleeps as long as the played trainer works, learns nothing.

Invariant: the time goes by the response tokens of a batch, masked ones included, as in the simulator; what was trained
on goes to the journal. One worker stands for all devices that train. Forward passes for log-probabilities and
checkpoints are refused.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import psutil
from verl.workers.engine.base import BaseEngine, EngineRegistry

from pangu_verl.errors import WrongUse
from pangu_verl_paced import journal, processors
from pangu_verl_paced.journal import TrainedBatch, tokens_by_version
from pangu_verl_paced.pacing import NOTICE, pacing


@EngineRegistry.register(model_type="language_model", backend="pangu_paced", device="cpu")
class PacedEngine(BaseEngine):
    """Has no parameters."""

    is_param_offload_enabled = False
    is_optimizer_offload_enabled = False

    def __init__(self, **_: Any) -> None:
        self._pacing = pacing()
        self._run = processors.root_of(psutil.Process())
        self._last: tuple[float, float] | None = None

    def initialize(self) -> None:
        print(NOTICE, flush=True)

    def forward_backward_batch(self, data: Any, loss_function: Callable[..., Any], forward_only: bool = False) -> Any:
        """Sleeps. ``data``: verl's batch without padding, with ``responses``, ``response_mask``, ``old_log_probs``."""
        if forward_only:
            raise WrongUse(
                "the paced trainer makes no log-probabilities; set algorithm.rollout_correction.bypass_mode=true and "
                "use no reference policy"
            )
        began_s = time.time()
        forwarded_tokens = _response_tokens(data)
        time.sleep(self._pacing.wall_s(forwarded_tokens * self._pacing.train_s))
        batch = TrainedBatch(
            began_s=began_s,
            ended_s=time.time(),
            trajectories=len(data),
            forwarded_tokens=forwarded_tokens,
            trained_tokens_by_version=tokens_by_version(data["response_mask"].unbind(), data["old_log_probs"].unbind()),
            processor_s=processors.processor_s(self._run),
        )
        if self._pacing.journal is not None:
            journal.append(self._pacing.journal, batch)
        return {"loss": [0.0], "model_output": {}, "metrics": self._metrics(batch)}

    def _metrics(self, batch: TrainedBatch) -> dict[str, float]:
        found = {"paced/compute/max": 1.0, "paced/trained_tokens": float(batch.trained_tokens)}
        if self._last is not None:
            ended_s, processor_s = self._last
            share = processors.share(batch.processor_s - processor_s, batch.ended_s - ended_s)
            found["paced/processor_share/max"] = share
        self._last = batch.ended_s, batch.processor_s
        return found

    def train_mode(self, **_: Any) -> Any:
        return contextlib.nullcontext()

    def eval_mode(self, **_: Any) -> Any:
        return contextlib.nullcontext()

    def optimizer_zero_grad(self) -> None:
        return None

    def optimizer_step(self) -> float:
        return 0.0

    def lr_scheduler_step(self) -> float:
        return 0.0

    def get_per_tensor_param(self, **_: Any) -> tuple[Any, None]:
        return iter(()), None

    def get_data_parallel_size(self) -> int:
        return 1

    def get_data_parallel_rank(self) -> int:
        return 0

    def get_data_parallel_group(self) -> None:
        return None

    def is_mp_src_rank_with_outputs(self) -> bool:
        return True

    def to(self, *_: Any, **__: Any) -> None:
        return None

    def save_checkpoint(self, *_: Any, **__: Any) -> None:
        raise WrongUse("the paced trainer has nothing to save; set trainer.save_freq=-1")

    def load_checkpoint(self, *_: Any, **__: Any) -> None:
        raise WrongUse("the paced trainer has nothing to load; start without --resume")


def _response_tokens(data: Any) -> int:
    """Masked ones included. verl's older trainers pad responses and mask nothing but the padding."""
    responses = data["responses"]
    return int(responses.offsets()[-1] if responses.is_nested else data["response_mask"].sum())
