"""Run folders for the tests of reports."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_folders import Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.fixture
def whole_run(runs: Runs) -> Path:
    return runs.make_whole()
