"""Where a soak keeps what: one folder, whose names are known here alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_LIFE = re.compile(r"life-(\d{5})\.jsonl")


@dataclass(frozen=True, slots=True)
class SoakFolder:
    """``path`` is there. A *life* is one process of the worker, from its start to its kill or the run's end."""

    path: Path

    @property
    def order(self) -> Path:
        return self.path / "order.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor and its worker, so until both are gone."""
        return self.path / "soak.lock"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.sqlite"

    def superseded_ledgers(self) -> list[Path]:
        """What resumptions put aside; nobody asks for it again."""
        return list(self.path.glob(f"{self.ledger.name}.superseded-*"))

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def consumption(self) -> Path:
        """One file a life: what it trained on, in order."""
        return self.path / "consumption"

    @property
    def ends(self) -> Path:
        """How each life ended, one a line."""
        return self.path / "lives.jsonl"

    @property
    def worker_errors(self) -> Path:
        return self.path / "worker.stderr"

    @property
    def report(self) -> Path:
        return self.path / "soak.json"

    def life(self, number: int) -> Path:
        return self.consumption / f"life-{number:05d}.jsonl"

    def lives(self) -> list[int]:
        """Numbers of the lives that wrote something."""
        names = (_LIFE.fullmatch(path.name) for path in self.consumption.iterdir())
        return [int(name[1]) for name in names if name]
