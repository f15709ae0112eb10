"""What the tests of the example scripts share: a model of Qwen3-8B's shape, rows, and each script's configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from example_scripts import SCRIPTS, Called, call, inputs
from omegaconf import DictConfig
from preflight_checks import rows
from qwen3_8b import write_shape


@pytest.fixture(scope="session")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The scripts' inputs, as files that are there."""
    from pangu_verl.quickstart.tiny import make_tiny_model

    folder = tmp_path_factory.mktemp("inputs")
    found = inputs(folder)
    write_shape(make_tiny_model(Path(found["MODEL_PATH"]), lessons=0))
    for name in ("TRAIN_FILE", "TEST_FILE"):
        rows(64).to_parquet(found[name])
    return found


@pytest.fixture(scope="session")
def calls(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Called]:
    """What each script calls ``pangu-verl`` with."""
    folder = tmp_path_factory.mktemp("calls")
    return {script.stem: call(script, variables, folder) for script in SCRIPTS}


@pytest.fixture(scope="session")
def configurations(calls: dict[str, Called]) -> dict[str, DictConfig]:
    """The configuration that each script's arguments make."""
    from pangu_verl.integrations.verl.configuration import compose

    before = dict(os.environ)
    composed = {name: compose("ppo", called.overrides) for name, called in calls.items()}
    os.environ.clear()
    os.environ.update(before)
    return composed
