"""Test instrumentation, loaded by ``model.external_lib``: adds the largest gap between the log-probabilities of rollout
and trainer to verl's metrics. verl itself reports the gap of probabilities, which hides that of unlikely tokens."""

import functools
import sys
from typing import Any

import pangu_verl_cpu.registrations  # noqa: F401 - in whose place this module stands

_trainer = sys.modules.get("verl.trainer.ppo.v1.trainer_base")

if _trainer is not None:
    _original = _trainer.calculate_debug_metrics

    @functools.wraps(_original)
    def _with_log_prob_gap(data: Any) -> dict[str, float]:
        mask = data.batch["response_mask"].bool()
        gap = (data.batch["old_log_probs"] - data.batch["rollout_log_probs"]).abs()[mask]
        return {**_original(data), "training/rollout_log_probs_gap/max": float(gap.max())}

    _trainer.calculate_debug_metrics = _with_log_prob_gap
