"""Runs verl's trainer on a composed configuration, inside a run folder, and says plainly how it ended.

verl's own ``run_ppo`` does the work. Invariants: Ray is down when ``train`` returns, however it returns; a failure is a
``RunFailed`` with one line that names the cause; the full logs of Ray's workers are in ``logs/`` of a failed run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import PanguError, RunFailed, WrongUse
from pangu_verl.integrations.verl import preflight
from pangu_verl.runs import Run


def place_in_run_folder(config: DictConfig, run: Run) -> None:
    """Point everything that a run writes into its folder, and keep the resolved configuration there."""
    trainer = config.trainer
    trainer.default_local_dir = str(run.folder / "checkpoints")
    trainer.validation_data_dir = str(run.folder / "validation")
    trainer.resume_mode = "auto" if run.resumed else "disable"
    metrics = run.folder / "metrics.jsonl"
    if run.resumed and metrics.exists():
        _keep_earlier_metrics(metrics)
    os.environ["VERL_FILE_LOGGER_PATH"] = str(metrics)
    os.environ.setdefault("TENSORBOARD_DIR", str(run.folder / "tensorboard"))
    OmegaConf.save(config, run.folder / "config.yaml")


def _keep_earlier_metrics(metrics: Path) -> None:
    """verl's file tracker empties its file when it starts; what earlier sessions wrote is kept in numbered files."""
    number = len(list(metrics.parent.glob("metrics.*.jsonl"))) + 1
    metrics.rename(metrics.with_name(f"metrics.{number:03d}.jsonl"))


def train(config: DictConfig, run: Run, *, quiet: bool) -> dict[str, Any]:
    """Train to the end and return what the workers recorded; ``quiet`` keeps verl's own output in ``logs/``.

    Raises ``WrongUse`` for what cannot work and ``RunFailed`` for what went wrong; ``KeyboardInterrupt`` passes through.
    """
    import ray
    from verl.trainer.main_ppo import run_ppo
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    from pangu_verl.integrations.verl.supervisor import Supervisor
    from pangu_verl.integrations.verl.task_runner import PanguTaskRunner, boot_outcomes, refuse_failed_boot

    refuse_failed_boot("driver", boot_outcomes())
    preflight.check(config)
    try:
        validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    except (AssertionError, ValueError) as error:
        raise WrongUse(f"verl refuses the configuration: {_first_line(error)}") from error

    supervisor = Supervisor(ray.remote(PanguTaskRunner))
    try:
        with _output_to(run.folder / "logs" / "driver.log") if quiet else contextlib.nullcontext():
            run_ppo(config, task_runner_class=supervisor)
        supervisor.settle()
    except PanguError:
        raise
    except Exception as error:
        supervisor.settle()
        _keep_worker_logs(run.folder / "logs")
        raise RunFailed(_explain(error, supervisor.failure, config, run)) from error
    finally:
        ray.shutdown()
    if supervisor.failure is not None:
        raise RunFailed(supervisor.failure)
    return supervisor.facts


def _explain(error: Exception, failure: str | None, config: DictConfig, run: Run) -> str:
    where = f"logs in {run.folder / 'logs'}"
    if failure is not None:
        return f"{failure} ({where})"
    cause = _root_cause(error)
    if isinstance(cause, PanguError):
        return str(cause)
    if _disk_is_full(cause, Path(str(config.trainer.default_local_dir))):
        return (
            f"no space left for a checkpoint in {config.trainer.default_local_dir}; free some and go on with --resume "
            "(earlier checkpoints are whole)"
        )
    return f"{type(cause).__name__}: {_first_line(cause)} ({where})"


def _root_cause(error: BaseException) -> BaseException:
    """Ray wraps a worker's exception once per process it crosses."""
    while True:
        inner = getattr(error, "cause", None) or error.__cause__
        if not isinstance(inner, BaseException) or inner is error:
            return error
        error = inner


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _disk_is_full(cause: BaseException, folder: Path) -> bool:
    if isinstance(cause, OSError) and cause.errno == 28:
        return True
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(existing)
    return "writ" in str(cause).lower() and usage.free < 64 << 20


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
    """Send what this process prints and logs to a file, whichever layer prints it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger().handlers.clear()
    with path.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        yield
