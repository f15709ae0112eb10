"""The quickstart from start to report: model, problems, training, comparison before and after.

Each stage is a function of another room; here they are only put in order. A job that is interrupted leaves its folder
in a state from which ``--resume`` goes on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    record = Run(job.folder, name="quickstart", resume=job.resume, facts={"model": job.model, "seed": job.seed})
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

    # verl and torch are imported from here on, after the backend has set its environment.
    from pangu_verl.integrations.verl import configuration, launch

    config = configuration.compose(
        "quickstart_tiny" if job.model == "tiny" else "quickstart",
        [
            f"data.train_files={train_file}",
            f"data.val_files={validation_file}",
            f"actor_rollout_ref.model.path={model}",
            f"actor_rollout_ref.rollout.seed={job.seed}",
            f"actor_rollout_ref.actor.data_loader_seed={job.seed}",
            f"data.seed={job.seed}",
            *job.overrides,
        ],
    )
    launch.place_in_run_folder(config, record)
    steps = int(config.trainer.total_training_steps)
    console.print(f"training {steps} steps in verl; the first lines take a minute or two", highlight=False)
    with RunProgress(record.folder, steps, console) as progress:
        facts = launch.train(config, record, quiet=True)
    trained_s = float(record.record.get("train_seconds") or 0) * job.resume + progress.train_seconds
    servers = facts.get("servers") or [None]
    record.update(
        "finished",
        train_seconds=round(trained_s, 1),
        peak_pss_gib=round(progress.peak_pss_gib, 2),
        engine=servers[0],
    )


def _prepare_model(job: Job, folder: Path) -> str:
    if job.model == "smollm2":
        from pangu_verl.quickstart.smollm2 import prepare_smollm2

        return str(prepare_smollm2(cache_folder()))
    if job.model == "tiny":
        from pangu_verl.quickstart.tiny import make_tiny_model

        made = folder / "model"
        return str(made if (made / "model.safetensors").is_file() else make_tiny_model(made, seed=job.seed))
    return job.model
