"""Runs verl's trainer on a composed configuration, inside a run folder, and says plainly how it ended.

verl's own ``run_ppo`` does the work. Invariants: Ray is down when ``train`` returns, however it returns; a failure is a
``RunFailed`` with one line that names the cause; the full logs of Ray's workers are in ``logs/`` of a failed run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import RunFailed
from pangu_verl.runs import Run


def place_in_run_folder(config: DictConfig, run: Run) -> None:
    """Point everything that a run writes into its folder, and keep the resolved configuration there."""
    trainer = config.trainer
    trainer.default_local_dir = str(run.folder / "checkpoints")
    trainer.validation_data_dir = str(run.folder / "validation")
    config.pangu.rewards.trail_dir = config.pangu.rewards.trail_dir or str(run.folder / "rewards")
    config.pangu.scheduler.ledger = config.pangu.scheduler.ledger or str(run.folder / "ledger.sqlite")
    trainer.resume_mode = "auto" if run.resumed else "disable"
    metrics = run.folder / "metrics.jsonl"
    if run.resumed and metrics.exists():
        _keep_earlier_metrics(metrics)
    os.environ["VERL_FILE_LOGGER_PATH"] = str(metrics)
    os.environ.setdefault("TENSORBOARD_DIR", str(run.folder / "tensorboard"))
    OmegaConf.save(config, run.folder / "config.yaml")


def _keep_earlier_metrics(metrics: Path) -> None:
    """verl's file tracker empties its file when it starts; what earlier sessions wrote is kept in numbered files."""
    taken = [path.name.split(".")[1] for path in metrics.parent.glob("metrics.*.jsonl")]
    number = max((int(number) for number in taken if number.isdecimal()), default=0) + 1
    metrics.rename(metrics.with_name(f"metrics.{number:03d}.jsonl"))


def train(config: DictConfig, run: Run, *, quiet: bool) -> dict[str, Any]:
    """Train to the end and return what the workers recorded; ``quiet`` keeps verl's own output in ``logs/``.

    Raises ``WrongUse`` for what cannot work and ``RunFailed`` for what went wrong; ``KeyboardInterrupt`` passes.
    """
    with _output_to(run.folder / "logs" / "driver.log") if quiet else contextlib.nullcontext():
        return _train(config, run)


def _train(config: DictConfig, run: Run) -> dict[str, Any]:
    import ray
    from verl.trainer.main_ppo import run_ppo

    from pangu_verl.integrations.verl.boot_check import boot_outcomes, refuse_failed_boot
    from pangu_verl.integrations.verl.failures import explain
    from pangu_verl.integrations.verl.plan import plan_of
    from pangu_verl.integrations.verl.supervisor import Supervisor
    from pangu_verl.integrations.verl.task_runner import PanguTaskRunner

    refuse_failed_boot("driver", boot_outcomes())
    plan_of(config)
    supervisor = Supervisor(ray.remote(PanguTaskRunner))
    try:
        run_ppo(config, task_runner_class=supervisor)
        supervisor.settle()
        if supervisor.failure is not None:
            raise RunFailed(supervisor.failure)
    except Exception as error:
        supervisor.settle()
        _keep_worker_logs(run.folder / "logs")
        raise RunFailed(explain(error, supervisor.failure, config, run)) from error
    finally:
        supervisor.stop()
        ray.shutdown()
    return supervisor.facts


def _keep_worker_logs(folder: Path) -> None:
    """Copy the logs of this session's workers beside the run before Ray's temporary folder is gone or overwritten."""
    with contextlib.suppress(Exception):
        import ray

        session = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        for log in session.glob("worker-*.*"):
            if log.stat().st_size:
                shutil.copy(log, folder / log.name)


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send what this process and its children print to a file, whichever layer prints it: by file descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        with path.open("ab") as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
        yield
    finally:
        _flush_or_drop()
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


def _flush_or_drop() -> None:
    """A full disk takes no more output: what waits is dropped, or it would come out where the user looks."""
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), descriptor)
            stream.flush()
