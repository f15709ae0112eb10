"""What every test starts from."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# No test depends on wall time, so that a busy machine makes none fail.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Composing sets a backend's variables and placing a run sets verl's; each test starts from the same."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
