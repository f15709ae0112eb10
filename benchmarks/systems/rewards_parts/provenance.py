"""What a figure is worth nothing without: commit, versions, machine. Taken from the record that every run writes."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pangu_verl.runs import Run

_PEERS = ("math-verify", "sympy")


def provenance() -> dict[str, Any]:
    """``has_local_changes`` is None where git cannot tell."""
    with tempfile.TemporaryDirectory() as scratch:
        record = Run(Path(scratch) / "run", name="benchmark", resume=False).record
    return {
        "started_at": record["started_at"],
        "commit": record["commit"],
        "has_local_changes": _has_local_changes(),
        "versions": record["versions"] | {name: version(name) for name in _PEERS},
        "machine": record["machine"] | {"kernel": platform.release(), "load_average": os.getloadavg()[0]},
    }


def _has_local_changes() -> bool | None:
    command = ["git", "-C", str(Path(__file__).parent), "status", "--porcelain", "--untracked-files=no"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return bool(answer.stdout.strip()) if answer.returncode == 0 else None
