"""Runs shared by the tests that look at them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_runs import PARITY, Finished, finish


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Finished]:
    """Run the quickstart on the tiny model with overrides, in a new folder or in one given."""

    def run(*overrides: str, folder: Path | None = None, resume: bool = False, **extra: str) -> Finished:
        folder = folder or tmp_path_factory.mktemp("run") / "quickstart"
        options = [
            "quickstart",
            "--model",
            "tiny",
            "--json",
            "--run-dir",
            str(folder),
            *(["--resume"] if resume else []),
        ]
        return finish([*options, *overrides], folder, **extra)

    return run


@pytest.fixture(scope="session")
def sync_run(quickstart: Callable[..., Finished]) -> Finished:
    """Three steps in verl's mode ``sync`` on one rank, a checkpoint after the second, logged to TensorBoard as well."""
    steps = ("trainer.total_training_steps=3", "trainer.test_freq=3", "trainer.save_freq=2")
    trackers = "trainer.logger=[console,file,tensorboard]"
    return quickstart(*PARITY, *steps, trackers)
