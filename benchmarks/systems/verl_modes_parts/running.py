"""One run of the matrix: a mode at a size with a seed, as ``pangu-verl train`` in a process of its own.

Invariant: a run's folder tells all of it (what it was told, its log, its journal, its figures), and figures appear in
it only when they are whole, so that a matrix that is broken off goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from pangu_verl_paced import journal
from pangu_verl_paced.pacing import VARIABLE, Pacing
from pangu_verl_paced.prompts import write_prompts

from pangu_verl.errors import RunFailed
from pangu_verl.quickstart.tiny import make_tiny_model

from . import TRAJECTORIES, Scale, Size, measuring
from .modes import FULLY_ASYNC, SHORT_POLL_S, Mode
from .predicting import predicted
from .scenarios import cluster_of, pacing_of, rollout_replicas, scenario_of

COMMAND = Path(sys.executable).with_name("pangu-verl")
_FULLY_ASYNC = Path(__file__).with_name("fully_async.py")
#: Of one run; a quiet machine needs a quarter of it.
_TIMEOUT_S = 900
_PROMPT_TOKENS = 64
#: Ray would start a process for each processor of its bookkeeping, and a paced run needs a dozen.
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "RAY_prestart_worker_first_driver": "0"}
#: More prompts than any run of the matrix asks for.
_PROMPTS = 8192


@dataclass(frozen=True, kw_only=True)
class Cell:
    """``seed`` is that of the lengths, the number of the repeat."""

    size: Size
    mode: Mode
    seed: int

    @property
    def name(self) -> str:
        poll = "" if self.mode.poll_s == SHORT_POLL_S else " with verl's own poll"
        return f"{self.size.name}, {self.mode.name}{poll}, repeat {self.seed + 1}"

    @cached_property
    def file_name(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.name)


class Inputs:
    """Model and prompts, which all runs share."""

    def __init__(self, folder: Path) -> None:
        self.model, self.rows = folder / "model", folder / "rows.parquet"
        if not self.rows.is_file():
            make_tiny_model(self.model, lessons=0)
            write_prompts(self.rows, _PROMPTS)


def finished(cell: Cell, scale: Scale, folder: Path) -> dict[str, Any] | None:
    """Figures of an earlier run of the same cell at the same scale; None where there are none that count."""
    file = folder / cell.file_name / "figures.json"
    if not file.is_file():
        return None
    found: dict[str, Any] = json.loads(file.read_text())
    return found if found["told"] == _told(cell, scale) and not found["is_discarded"] else None


def run(cell: Cell, scale: Scale, inputs: Inputs, folder: Path) -> dict[str, Any]:
    """Figures of the run and what the simulator says of it. Raises ``RunFailed`` with the run's last line."""
    place = folder / cell.file_name
    place.mkdir(parents=True, exist_ok=True)
    pacing = _pacing(cell, scale, place / "journal.jsonl")
    (place / "paced.yaml").write_text(yaml.safe_dump(json.loads(pacing.model_dump_json())))
    (place / "journal.jsonl").unlink(missing_ok=True)
    steps = num_steps(cell, scale)
    _train(cell, _command(cell, inputs, pacing, steps, place), place)
    scenario = scenario_of(cell.size, cluster_of(cell.size), seed=cell.seed, steps=steps)
    batches = journal.read(place / "journal.jsonl")
    figures = measuring.of_run(batches, scale.first_steps, steps, scenario, pacing.time_scale)
    forecast = predicted(cell.mode, cell.size, scale, seed=cell.seed, steps=steps)
    result = {
        "told": _told(cell, scale),
        **figures,
        "predicted": dict(forecast) if forecast else None,
        "prediction_error": forecast["fresh_token_share"] / figures["fresh_token_share"] - 1 if forecast else None,
    }
    (place / "figures.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


def num_steps(cell: Cell, scale: Scale) -> int:
    is_sync = cell.mode.trainer_mode == "sync"
    return scale.first_steps + (scale.measured_steps_sync if is_sync else scale.measured_steps)


def _told(cell: Cell, scale: Scale) -> dict[str, Any]:
    """What figures depend on."""
    return {
        "size": cell.size.name,
        "side": cell.mode.side,
        "mode": cell.mode.name,
        "family": cell.mode.family,
        "warm_up_batches": cell.mode.warm_up_batches,
        "poll_s": cell.mode.poll_s,
        "seed": cell.seed,
        "steps": num_steps(cell, scale),
        "first_steps": scale.first_steps,
        "ceiling_step_s": scale.ceiling_step_s,
        "cluster": json.loads(cluster_of(cell.size).model_dump_json()),
    }


def _pacing(cell: Cell, scale: Scale, file: Path) -> Pacing:
    return pacing_of(
        cell.size,
        takes_turns=cell.mode.takes_turns,
        seed=cell.seed,
        ceiling_step_s=scale.ceiling_step_s,
        journal=file.resolve(),
    )


def _command(cell: Cell, inputs: Inputs, pacing: Pacing, steps: int, place: Path) -> list[str]:
    if cell.mode.trainer_mode == FULLY_ASYNC.trainer_mode:
        return [sys.executable, str(_FULLY_ASYNC), *_fully_async_overrides(cell, inputs, pacing, steps)]
    overrides = [*_overrides(cell, inputs, pacing), f"trainer.total_training_steps={steps}"]
    return [str(COMMAND), "train", "--run-dir", str(_new_run_folder(place)), *overrides]


def _train(cell: Cell, command: list[str], place: Path) -> None:
    with (place / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_ENVIRONMENT, VARIABLE: str((place / "paced.yaml").resolve())},
        )
        try:
            code = process.wait(_TIMEOUT_S)
        except BaseException as error:
            process.terminate()
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            code = -1
    if code:
        lines = [line for line in (place / "log.txt").read_text(errors="replace").splitlines() if line.strip()]
        raise RunFailed(
            f"{cell.name} failed: {lines[-1][:300] if lines else 'it said nothing'}; see {place / 'log.txt'}"
        )


def _new_run_folder(place: Path) -> Path:
    """A run begins in a folder that is not there yet."""
    number = len(list(place.glob("run-*")))
    return place / f"run-{number}"


def _overrides(cell: Cell, inputs: Inputs, pacing: Pacing) -> list[str]:
    size, mode = cell.size, cell.mode
    replicas = size.replicas if mode.takes_turns else rollout_replicas(size)
    # Where servers and trainer take turns, verl knows one server, beside the trainer's one worker.
    servers, slots = (0, replicas * size.slots_per_replica) if mode.takes_turns else (replicas, size.slots_per_replica)
    return [
        *_common_overrides(cell, inputs, pacing),
        f"data.train_batch_size={size.batch_groups}",
        f"actor_rollout_ref.rollout.max_num_seqs={slots}",
        f"actor_rollout_ref.rollout.nnodes={int(servers > 0)}",
        f"actor_rollout_ref.rollout.n_gpus_per_node={max(servers, 1)}",
        f"ray_kwargs.ray_init.num_gpus={servers + 2}",
        # Bookkeeping: a server of verl's holds two processors, a paced one uses none of them.
        f"ray_kwargs.ray_init.num_cpus={2 * servers + 16}",
        f"trainer.v1.trainer_mode={mode.trainer_mode}",
        "trainer.v1.separate_async.parameter_sync_step=1",
        *mode.overrides,
    ]


def _fully_async_overrides(cell: Cell, inputs: Inputs, pacing: Pacing, steps: int) -> list[str]:
    size, servers = cell.size, rollout_replicas(cell.size)
    return [
        *_common_overrides(cell, inputs, pacing),
        f"actor_rollout_ref.rollout.max_num_seqs={size.slots_per_replica}",
        f"rollout.n={TRAJECTORIES}",
        "rollout.nnodes=1",
        f"rollout.n_gpus_per_node={servers}",
        f"rollout.total_rollout_steps={steps * size.batch_groups}",
        f"async_training.concurrent_samples_per_replica={max(1, size.slots_per_replica // TRAJECTORIES)}",
        f"+ray_kwargs.ray_init.num_gpus={servers + 2}",
        *cell.mode.overrides,
    ]


def _common_overrides(cell: Cell, inputs: Inputs, pacing: Pacing) -> list[str]:
    trajectories = cell.size.batch_groups * TRAJECTORIES
    return [
        f"data.train_files={inputs.rows.resolve()}",
        f"data.val_files={inputs.rows.resolve()}",
        f"actor_rollout_ref.model.path={inputs.model.resolve()}",
        "data.shuffle=false",
        f"data.max_prompt_length={_PROMPT_TOKENS}",
        f"data.max_response_length={pacing.longest_tokens}",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={cell.size.batch_groups}",
        f"actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu={trajectories}",
        f"actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu={trajectories}",
        f"actor_rollout_ref.rollout.n={TRAJECTORIES}",
        *PACED,
        *QUIET,
    ]


#: What makes a run a paced one.
PACED = (
    "actor_rollout_ref.model.external_lib=pangu_verl_paced.registrations",
    "actor_rollout_ref.rollout.name=pangu_paced",
    "actor_rollout_ref.rollout.checkpoint_engine.backend=pangu_paced",
    "actor_rollout_ref.rollout.checkpoint_engine.custom_backend_module=pangu_verl_paced.transport",
    "actor_rollout_ref.actor.strategy=pangu_paced",
    "reward.custom_reward_function.path=pkg://pangu_verl_paced.prompts",
    "reward.custom_reward_function.name=no_reward",
)
#: Nothing but training steps.
QUIET = ("trainer.val_before_train=false", "trainer.test_freq=-1", "trainer.save_freq=-1")
