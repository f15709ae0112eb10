"""The quickstart from start to report: model, problems, training, comparison before and after.

Each stage is a function of another room; here they are only put in order. A job that is interrupted leaves its folder
in a state from which ``--resume`` goes on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from pangu_verl.errors import PanguError
from pangu_verl.progress import RunProgress
from pangu_verl.quickstart.problems import write_problems
from pangu_verl.runs import Run

TRAIN_ROWS = 2_048
VALIDATION_ROWS = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What the user asked for. ``model`` is "smollm2", "tiny", a folder or a name on a model hub."""

    folder: Path
    model: str
    seed: int
    resume: bool
    overrides: Sequence[str]


def cache_folder() -> Path:
    """Where prepared models are kept between runs (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pangu_verl"


def run(job: Job, console: Console) -> dict[str, Any]:
    """Run the job and return the summary that ``--json`` prints."""
    from pangu_verl.report import build_report, summarise

    _compose(job, [])  # A wrong override is told before a folder is made or a model fetched.
    identity = {"model": job.model, "seed": job.seed}
    record = Run(job.folder, name="quickstart", resume=job.resume, identity=identity)
    try:
        _train(job, record, console)
    except KeyboardInterrupt:
        record.update("interrupted")
        raise
    except PanguError as error:
        record.update("failed", failure=str(error))
        raise
    except Exception as error:
        record.update("failed", failure=f"{type(error).__name__}: {error}")
        raise
    build_report(record.folder)
    return summarise(record.folder).to_json()


def _train(job: Job, record: Run, console: Console) -> None:
    console.print(f"run folder {record.folder}", highlight=False)
    console.print(f"preparing model {job.model} and problems (seed {job.seed})", highlight=False)
    model = _prepare_model(job, record.folder)
    train_rows, validation_rows = (TRAIN_ROWS, VALIDATION_ROWS) if job.model != "tiny" else (256, 64)
    train_file, validation_file = write_problems(record.folder / "data", train_rows, validation_rows, job.seed)

    from pangu_verl.integrations.verl import launch
    from pangu_verl.integrations.verl.configuration import whole_number

    config = _compose(
        job,
        [
            _override("data.train_files", train_file),
            _override("data.val_files", validation_file),
            _override("actor_rollout_ref.model.path", model),
            f"actor_rollout_ref.rollout.seed={job.seed}",
            f"actor_rollout_ref.actor.data_loader_seed={job.seed}",
            f"data.seed={job.seed}",
        ],
    )
    launch.place_in_run_folder(config, record)
    steps = whole_number(config, "trainer.total_training_steps")
    console.print(f"training {steps} steps in verl; the first lines take a minute or two", highlight=False)
    progress = RunProgress(record.folder, steps, console)
    try:
        with progress:
            facts = launch.train(config, record, quiet=True)
    finally:
        _record_use(record, progress)
    servers = facts.get("servers") or [None]
    record.update("finished", engine=servers[0])


def _compose(job: Job, overrides: Sequence[str]) -> DictConfig:
    """The job's configuration; also sets the backend's environment, which has to come before verl and torch."""
    from pangu_verl.integrations.verl import configuration

    name = "quickstart_tiny" if job.model == "tiny" else "quickstart"
    return configuration.compose(name, [*overrides, *job.overrides])


def _override(key: str, text: object) -> str:
    """Text as Hydra takes it literally, whatever a path may hold."""
    quoted = re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + (match[2] and "\\'"), str(text))
    return f"{key}='{quoted}'"


def _record_use(record: Run, progress: RunProgress) -> None:
    """What the job used so far, sessions before this one included; kept for a run that is interrupted as well."""
    trained_s = float(record.record.get("train_seconds") or 0) + progress.train_seconds
    peak_gib = max(float(record.record.get("peak_pss_gib") or 0), progress.peak_pss_gib)
    record.record |= {"train_seconds": round(trained_s, 1), "peak_pss_gib": round(peak_gib, 2)}


def _prepare_model(job: Job, folder: Path) -> str:
    if job.model == "smollm2":
        from pangu_verl.quickstart.smollm2 import prepare_smollm2

        return str(prepare_smollm2(cache_folder()))
    if job.model == "tiny":
        from pangu_verl.quickstart.tiny import make_tiny_model

        made = folder / "model"
        return str(made if (made / "model.safetensors").is_file() else make_tiny_model(made, seed=job.seed))
    return job.model
