"""The example scripts for 8 devices, run with a stand-in for ``pangu-verl`` that writes down what it is called with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FOLDERS = [REPOSITORY / "examples" / device / "grpo" for device in ("ascend", "cuda")]
SCRIPTS = [script for folder in FOLDERS for script in sorted(folder.glob("run_*.sh"))]
REQUIRED = ("MODEL_PATH", "TRAIN_FILE", "TEST_FILE", "RAY_DATA_HOME")
#: Variables that a user's shell may hold and that the scripts read.
OPTIONAL = (
    "CKPTS_DIR",
    "DRY_RUN",
    "ASCEND_RT_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
    "HCCL_CONNECT_TIMEOUT",
    "TASK_QUEUE_ENABLE",
    "CPU_AFFINITY_CONF",
)
_STAND_IN = '#!/bin/sh\nprintf "%s\\n" "$@" > "$RECORD.arguments"\nenv > "$RECORD.environment"\n'


@dataclass(frozen=True)
class Called:
    """How a script ended, and what it called ``pangu-verl`` with; no arguments if it did not."""

    code: int
    errors: str
    arguments: list[str]
    environment: dict[str, str]

    @property
    def overrides(self) -> list[str]:
        return [argument for argument in self.arguments[1:] if "=" in argument]

    @property
    def values(self) -> dict[str, str]:
        """Values by key, the last of two."""
        return {key.lstrip("+"): value for key, _, value in (line.partition("=") for line in self.overrides)}


def inputs(folder: Path) -> dict[str, str]:
    """What each script requires, with names in ``folder``."""
    names = ("model", "train.parquet", "test.parquet", "home")
    return {variable: str(folder / name) for variable, name in zip(REQUIRED, names, strict=True)}


def call(script: Path, variables: Mapping[str, str], folder: Path, *arguments: str) -> Called:
    """Run ``script`` with ``variables`` and the stand-in, which is made in ``folder``."""
    command = folder / "stand-in" / "pangu-verl"
    command.parent.mkdir(parents=True, exist_ok=True)
    command.write_text(_STAND_IN)
    command.chmod(0o755)
    record = folder / script.stem
    environment = {
        **shell_environment(variables),
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "RECORD": str(record),
    }
    answer = subprocess.run([str(script), *arguments], capture_output=True, text=True, env=environment, check=False)
    return Called(
        answer.returncode,
        answer.stderr,
        _lines(record.with_suffix(".arguments")),
        dict(line.split("=", 1) for line in _lines(record.with_suffix(".environment")) if "=" in line),
    )


def run(script: Path, variables: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``script`` with ``variables`` and the real ``pangu-verl`` of this environment."""
    environment = shell_environment(variables)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run([str(script), *arguments], capture_output=True, text=True, env=environment, check=False)


def shell_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This environment with ``variables`` and nothing else that the scripts read."""
    return {name: value for name, value in os.environ.items() if name not in (*REQUIRED, *OPTIONAL)} | {**variables}


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
