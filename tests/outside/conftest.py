"""An environment outside the checkout, with wheels of the core and of the CPU plugin and nothing of ours beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")

Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Built from the checkout: the core, its CPU plugin and the example package."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, ROOT / "plugins" / "pangu-verl-cpu", ROOT / "plugins" / "example"):
        subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", folder, project], check=True)
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory, wheels: list[Path]) -> Shell:
    """Runs a shell line with that environment first on the path, in a folder that holds a link to ``plugins``."""
    folder = tmp_path_factory.mktemp("outside")
    environment = folder / "environment"
    subprocess.run([UV, "venv", "--quiet", "--seed", "--python", sys.executable, environment], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", environment / "bin" / "python"]
    subprocess.run([*install, "--constraint", ROOT / "constraints.txt", *wheels], check=True)
    workplace = folder / "workplace"
    workplace.mkdir()
    (workplace / "plugins").symlink_to(ROOT / "plugins")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PANGU_VERL")}
    variables |= {"PATH": f"{environment / 'bin'}:{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def run(line: str, *, fails: bool = False, **extra: str) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=workplace,
            env=variables | extra,
            capture_output=True,
            text=True,
            check=False,
        )
        assert fails or ended.returncode == 0, f"{line}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
        return ended

    return run
