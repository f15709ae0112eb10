"""What happens when verl imports the plugin: nothing without VERL_PLATFORM=cpu, and no error goes unrecorded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(program: str, platform: str | None, tmp_path: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "VERL_PLATFORM"}
    if platform is not None:
        environment["VERL_PLATFORM"] = platform
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("platform", [None, "", "nvidia"])
def test_it_is_inactive_unless_named_and_imports_nothing(platform: str | None, tmp_path: Path) -> None:
    program = "import sys; from pangu_verl_cpu import boot; print(boot.outcome, 'verl' in sys.modules)"
    assert run(program, platform, tmp_path) == "inactive False"


def test_it_is_ready_when_verl_is_imported_on_a_cpu(tmp_path: Path) -> None:
    program = (
        "import verl; from verl.plugin.platform import get_platform; from pangu_verl_cpu import boot; "
        "from verl.utils.distributed import initialize_global_process_group_ray as initialize; "
        "print(boot.outcome, get_platform().device_name, hasattr(initialize, '__wrapped__'))"
    )
    assert run(program, " CPU ", tmp_path) == "ready cpu True"


def test_it_records_what_went_wrong(tmp_path: Path) -> None:
    """verl swallows it, whatever it is: here the platform cannot be imported."""
    program = (
        "import sys; sys.modules['pangu_verl_cpu.platform'] = None; "
        "from pangu_verl_cpu import boot; print(boot.outcome)"
    )
    outcome = run(program, "cpu", tmp_path)
    assert outcome.startswith(("ImportError", "ModuleNotFoundError"))
    assert "platform" in outcome


def test_it_records_a_refusal_of_the_patch(tmp_path: Path) -> None:
    program = (
        "import importlib, os, verl; from pangu_verl_cpu import boot; verl.__version__ = '0.42'; "
        "os.environ['VERL_PLATFORM'] = 'cpu'; print(importlib.reload(boot).outcome)"
    )
    assert run(program, None, tmp_path).startswith("RuntimeError: pangu-verl-cpu patches verl >=0.9.1,<0.10")
