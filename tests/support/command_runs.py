"""Runs of the real command line in processes of their own, and what is left of them afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descendants import Descendants

SUPPORT = Path(__file__).parent
COMMAND = Path(sys.executable).with_name("pangu-verl")

#: Everything in float32 and the old log-probabilities computed anew, so that rollout and trainer can be compared.
PARITY = (
    "actor_rollout_ref.model.external_lib=log_prob_gap",
    "actor_rollout_ref.rollout.dtype=float32",
    "actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype=fp32",
    "actor_rollout_ref.actor.fsdp_config.mixed_precision.reduce_dtype=fp32",
    "algorithm.rollout_correction.bypass_mode=false",
)
SEPARATE = (
    "trainer.v1.trainer_mode=separate_async",
    "trainer.v1.separate_async.parameter_sync_step=1",
    "actor_rollout_ref.rollout.nnodes=1",
    "actor_rollout_ref.rollout.n_gpus_per_node=1",
    "ray_kwargs.ray_init.num_gpus=3",
)
#: The same under our scheduler.
SCHEDULED = ("trainer.v1.trainer_mode=pangu_ssp", *SEPARATE[1:])


@dataclass(frozen=True)
class Finished:
    """A run that has ended."""

    folder: Path
    code: int
    output: str
    errors: str
    leftovers: list[str]

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self.output.splitlines()[-1])

    @property
    def record(self) -> dict[str, Any]:
        return json.loads((self.folder / "run.json").read_text())

    def metrics(self, name: str) -> dict[int, float]:
        """Values of a metric by step."""
        entries = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        return {entry["step"]: entry["data"][name] for entry in entries if name in entry["data"]}


def environment(**extra: str) -> dict[str, str]:
    """This environment with the test instrumentation importable."""
    return {**os.environ, "PYTHONPATH": str(SUPPORT), "HF_HUB_OFFLINE": "1", **extra}


def finish(command: Sequence[str], folder: Path, timeout_s: float = 540, **extra: str) -> Finished:
    """Run ``pangu-verl`` to its end and note which of its processes outlive it."""
    process = subprocess.Popen(
        [str(COMMAND), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**extra),
    )
    started = Descendants(process.pid)
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except BaseException:
        started.kill()
        raise
    leftovers = [" ".join(left.cmdline())[:80] for left in started.outliving(timeout_s=15)]
    return Finished(folder, process.returncode, output, errors, leftovers)
