"""A description of a small paced cluster, and a replica whose time the test moves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "pangu-verl-paced"))

from pangu_verl_paced.pacing import Pacing, read_pacing
from pangu_verl_paced.replicas import Attempt, PacedReplica

from pangu_verl.simulate.replicas import Replica

#: 10 tokens/s for one request, 5 for each of two or more.
RATES = [10.0, 10.0, 5.0, 5.0, 5.0]


@pytest.fixture
def describe(tmp_path: Path) -> Callable[..., Path]:
    """A file that describes a paced run, with some fields changed."""

    def written(**changes: Any) -> Path:
        fields = {
            "cluster": {
                "devices": 4,
                "slots_per_device": 2,
                "decode_tokens_per_s": [[1, 60], [2, 50]],
                "train_tokens_per_s": 500,
                "publication_s": 2,
            },
            "lengths": {"trace": "mild", "mean_tokens": 50},
            "trainer_devices": 2,
            "time_scale": 100,
            "rates_from": "made up for the tests",
        }
        file = tmp_path / "paced.yaml"
        file.write_text(yaml.safe_dump(fields | changes))
        return file

    return written


@pytest.fixture
def pacing(describe: Callable[..., Path]) -> Pacing:
    return read_pacing(describe())


@pytest.fixture
def replica() -> PacedReplica:
    """Of two slots."""
    return PacedReplica(Replica(0, RATES, None), slots=2)


@pytest.fixture
def attempt() -> Callable[..., Attempt]:
    def made(tokens: int, priority: int = 0) -> Attempt:
        return Attempt(key="p", member=0, attempt=0, tokens=tokens, prompt_tokens=0, priority=priority)

    return made
