"""What ended a run, in one line: the cause is dug out of the wrappings that Ray and verl put round it.

Nothing is recovered here, and a bug of ours is named like any other error; its traceback is in the logs.
"""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

from omegaconf import DictConfig
from ray.exceptions import ActorDiedError, RayError

from pangu_verl.errors import PanguError, RunFailed, first_line
from pangu_verl.integrations.verl.boot_check import require_boot_in_new_worker
from pangu_verl.runs import Run

#: The line that ends a traceback.
_QUOTED_ERROR = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt): .*$", re.MULTILINE)
#: What errors of writing speak of; torch's archive writer finds itself at another position than it expects, and
#: tokenizers and safetensors hand on the system's words without its number.
_WRITING = ("writ", "inline_container", "no space left")


def explain(error: Exception, failure: str | None, config: DictConfig, run: Run) -> str:
    """One line on what ended the run: what the watch saw (``failure``), else the cause behind ``error``."""
    where = f"logs in {run.folder / 'logs'}"
    if failure is not None:
        return f"{failure} ({where})"
    cause = _root_cause(error)
    if isinstance(cause, PanguError):
        return f"{cause} ({where})"
    if isinstance(cause, ActorDiedError) and (missing := _missing_plugin()) is not None:
        return f"{missing} ({where})"
    if _disk_is_full(cause, Path(str(config.trainer.default_local_dir))):
        return (
            f"no space left for a checkpoint in {config.trainer.default_local_dir}; free some and go on with --resume "
            "(earlier checkpoints are whole)"
        )
    return f"{_said_by(cause)} ({where})"


def _said_by(cause: BaseException) -> str:
    """The error as Python prints it; where Ray only quotes a worker's traceback, the last error in it."""
    quoted = _QUOTED_ERROR.findall(str(cause)) if isinstance(cause, RayError) else []
    return quoted[-1] if quoted else f"{type(cause).__name__}: {first_line(cause)}"


def _missing_plugin() -> str | None:
    """A worker without its platform plugin dies before our own check: it cannot import verl's trainer."""
    try:
        require_boot_in_new_worker()
    except RunFailed as refusal:
        return str(refusal)
    return None


def _root_cause(error: BaseException) -> BaseException:
    """The first of our own errors behind ``error``, else the last cause.

    Ray wraps a worker's exception once per process it crosses, in a class that is also the exception's own.
    """
    chain = [error]
    while not (isinstance(chain[-1], PanguError) and not hasattr(chain[-1], "cause")):
        inner = getattr(chain[-1], "cause", None) or chain[-1].__cause__
        if not isinstance(inner, BaseException) or any(inner is link for link in chain):
            break
        chain.append(inner)
    return chain[-1]


def _disk_is_full(cause: BaseException, folder: Path) -> bool:
    if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
        return True
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(existing)
    return any(word in str(cause).lower() for word in _WRITING) and usage.free < 64 << 20
