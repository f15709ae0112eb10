"""What the tests of the adapters share: an environment that is put back, and a model made on the spot."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from preflight_checks import Change, rows


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose weights know nothing."""
    from pangu_verl.quickstart.tiny import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model", lessons=0)


@pytest.fixture(scope="session")
def base(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    """A configuration that passes every check before a run."""
    from pangu_verl.integrations.verl.configuration import compose

    before = dict(os.environ)
    file = tmp_path_factory.mktemp("data") / "rows.parquet"
    rows().to_parquet(file)
    paths = [f"data.train_files={file}", f"data.val_files={file}", f"actor_rollout_ref.model.path={tiny_model}"]
    config = compose("quickstart_tiny", paths)
    os.environ.clear()
    os.environ.update(before)
    return config


@pytest.fixture
def change(base: DictConfig) -> Change:
    """The passing configuration with some keys set."""

    def changed(**values: Any) -> DictConfig:
        config = copy.deepcopy(base)
        for key, value in values.items():
            OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
        return config

    return changed


@pytest.fixture(scope="session")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def transfer_queue() -> Iterator[None]:
    """A real TransferQueue on a real Ray."""
    from real_queue import real_queue

    with real_queue():
        yield


@pytest.fixture
def rollout(transfer_queue: None) -> Any:
    """verl's data loader and agent loops, played by the test, over an empty TransferQueue."""
    from real_queue import ScriptedRollout, empty_queue

    empty_queue()
    return ScriptedRollout()


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the driver was told, instead of an actor of Ray."""
    messages: list[str] = []
    monkeypatch.setattr("pangu_verl.integrations.verl.reward_manager.report_failure", messages.append)
    return messages
