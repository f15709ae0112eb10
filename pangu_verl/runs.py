"""A run's folder and its record ``run.json``: what was run, where, with what, and how it ended.

Invariant: the record is replaced atomically, so a reader never sees half of it, and a run that was killed still says
``running``. Fresh runs never write into a folder that holds something; resumed runs keep what is there.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import psutil

from pangu_verl.errors import WrongUse, first_line

Status = Literal["running", "finished", "interrupted", "failed"]

_RECORDED_PACKAGES = ("pangu-verl", "pangu-verl-cpu", "verl", "torch", "transformers", "ray", "TransferQueue")


class Run:
    """A run folder that this process writes. A resumed run has to agree with the earlier one in ``identity``."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        resume: bool,
        facts: Mapping[str, Any] | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.resumed = resume
        _check_folder(self.folder, resume)
        previous = self._read() if resume else {}
        identity = {"name": name, **(identity or {})}
        for fact, value in identity.items():
            if previous.get(fact, value) != value:
                raise WrongUse(
                    f"--resume: {folder} was run with {fact} {previous[fact]!r}, not {value!r}; name the same"
                )
        _make_folder(self.folder)
        self._started_s = time.monotonic()
        earlier_seconds = previous.get("total_seconds")
        self._earlier_seconds = float(earlier_seconds) if isinstance(earlier_seconds, int | float) else 0.0
        self.record: dict[str, Any] = {
            **previous,
            **identity,
            "command": ["pangu-verl", *sys.argv[1:]],
            "started_at": previous.get("started_at") or datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "versions": _versions(),
            "machine": _machine(),
            **(facts or {}),
        }
        self.update("running")

    def update(self, status: Status, **facts: Any) -> None:
        """Replace the record on disk, with ``facts`` added."""
        seconds = self._earlier_seconds + time.monotonic() - self._started_s
        self.record |= {"failure": None, **facts, "status": status, "total_seconds": round(seconds, 1)}
        temporary = self.folder / "run.json.new"
        try:
            temporary.write_text(json.dumps(self.record, indent=2) + "\n")
            os.replace(temporary, self.folder / "run.json")
        except OSError:
            # A run that fails for want of disk cannot record it; the error that ended it must not be lost for that.
            if status in ("running", "finished"):
                raise

    def _read(self) -> dict[str, Any]:
        path = self.folder / "run.json"
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise WrongUse(
                f"--resume: {path} is damaged ({first_line(error)}); start afresh in a new folder"
            ) from error
        if not isinstance(found, dict):
            raise WrongUse(f"--resume: {path} holds no record of a run; start afresh in a new folder")
        return found


def new_run_folder(name: str) -> Path:
    """``./runs/<time>-<name>``."""
    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{name}"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongUse(f"--run-dir {folder} cannot be made ({error.strerror}); name another folder") from error


def _check_folder(folder: Path, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise WrongUse(f"--run-dir {folder} is a file; name a folder")
    used = folder.is_dir() and any(folder.iterdir())
    if used and not resume:
        raise WrongUse(f"--run-dir {folder} is not empty; name a new folder, or add --resume to go on with that run")
    if resume and not (folder / "run.json").is_file():
        raise WrongUse(f"--resume: {folder} holds no run.json; name the folder of an earlier run with --run-dir")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": _cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def _cores() -> int | None:
    """Cores that this process may use."""
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    """The commit of the checkout that this package runs from; None for an installed wheel."""
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _git("rev-parse", "--verify", "HEAD")


def _git(*arguments: str) -> str | None:
    """What git answers in this folder; None if it refuses or is not installed."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
