"""The journal of a paced run: one line of JSON for each batch that was really trained on, whatever chose it.

Invariant: what is counted comes from the rows that the trainer was given, token by token, and from nothing that a
scheduler or a client says of them, so all trainer modes are measured alike. Tokens that the mask leaves out were
forwarded, not trained on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

#: The log-probability of a token is minus so much for each version: a power of two, so float32 holds it exactly.
VERSION_UNIT = 1 / 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedBatch:
    """``began_s`` and ``ended_s`` are seconds since the epoch. ``processor_s`` is what the run's processes used so far.

    ``trained_tokens_by_version`` goes by the policy version that made a token.
    """

    began_s: float
    ended_s: float
    trajectories: int
    forwarded_tokens: int
    trained_tokens_by_version: dict[int, int]
    processor_s: float

    @property
    def trained_tokens(self) -> int:
        return sum(self.trained_tokens_by_version.values())


def tokens_by_version(masks: Sequence[torch.Tensor], log_probs: Sequence[torch.Tensor]) -> dict[int, int]:
    """Of rows' masks and log-probabilities, each of shape (tokens,)."""
    if not masks:
        return {}
    is_trained = torch.cat(list(masks)).bool()
    versions = (torch.cat(list(log_probs))[is_trained] / -VERSION_UNIT).round().to(torch.int64)
    found, counts = torch.unique(versions, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def append(file: Path, batch: TrainedBatch) -> None:
    with file.open("a") as stream:
        stream.write(json.dumps(asdict(batch)) + "\n")


def read(file: Path) -> list[TrainedBatch]:
    found = []
    for line in file.read_text().splitlines():
        fields = json.loads(line)
        versions = {int(version): tokens for version, tokens in fields.pop("trained_tokens_by_version").items()}
        found.append(TrainedBatch(**fields, trained_tokens_by_version=versions))
    return found
