"""What one life of the worker trained on, appended to a file of its own as it happens: the auditor's evidence.

Invariants: a file is only ever appended to, and what a resumption takes back stays in it; a line is written at once
and with one call, so that a kill can tear the last one alone. How it is judged is in ``audit``, which shares no
code with this.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pangu_verl.scheduler.batch import Batch, TakenGroup


class ConsumptionLog:
    """The file of a new life."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o644)

    def began(self, *, step: int, version: int, resumption: Mapping[str, int] | None) -> None:
        """The life goes on after training step ``step`` (-1: from nothing) at policy version ``version``."""
        self._append({"began": {"step": step, "version": version, "resumption": resumption}})

    def consumed(self, batch: Batch, counts: Mapping[str, int]) -> None:
        """``counts`` are of this life so far."""
        groups = [_line_of(entry) for entry in batch.groups]
        self._append({"step": batch.step, "version": batch.version, "groups": groups, "counts": dict(counts)})

    def published(self, version: int) -> None:
        self._append({"published": version})

    def sync(self) -> None:
        """To the disk itself, as a checkpoint asks for."""
        os.fsync(self._descriptor)

    def _append(self, line: Mapping[str, Any]) -> None:
        left = memoryview(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        while left:
            left = left[os.write(self._descriptor, left) :]


def _line_of(entry: TakenGroup) -> list[Any]:
    """Key, then for each trajectory its masked tokens and its segments."""
    return [
        entry.group.key,
        [[masked, entry.group.finished[member].segments] for member, masked in enumerate(entry.masked_tokens)],
    ]
