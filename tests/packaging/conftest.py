"""What the tests of packaging share: whether a package registry answers."""

from __future__ import annotations

import os
import subprocess

import pytest
from uv import find_uv_bin


@pytest.fixture(scope="session")
def registry() -> None:
    """Skips where no package registry answers: the tests that use this ask one what it holds."""
    # Without the cache, so that what was seen before is not taken for an answer.
    asked = subprocess.run(
        [find_uv_bin(), "pip", "compile", "--quiet", "--no-config", "--no-deps", "--no-cache", "-"],
        input="hatchling",
        capture_output=True,
        text=True,
        env={**os.environ, "UV_HTTP_TIMEOUT": "20"},
    )
    if asked.returncode:
        pytest.skip(f"no package registry answers: {asked.stderr.strip().splitlines()[-1]}")
