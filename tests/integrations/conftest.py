"""What the tests of the adapters share: an environment that is put back, and a model made on the spot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Composing sets a backend's variables and placing a run sets verl's; each test starts from the same."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose weights know nothing."""
    from pangu_verl.quickstart.tiny import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model", lessons=0)
