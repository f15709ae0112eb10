"""A soak's checkpoint: ledger, data loader and payloads as one cut of the run.

Invariant: a checkpoint has its name only once every part of it is on disk, so what carries the name is whole, wherever
a kill fell; until then, and while it is removed, its folder is called partial and nobody resumes from it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.ledger_snapshot import MARK_NAME
from pangu_verl.queue.ledger_store import move_durably

_PARTIAL = ".partial"
_REST = "rest.json"

#: A trajectory's name: its group's key and its member number.
Name = tuple[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Payload:
    """What stands for a response: its tokens, and the attempt at its group that made it."""

    tokens: int
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """``step`` is the last that the weights contain; the loader has given out ``loader_position`` rows."""

    ledger_mark: Path
    step: int
    loader_position: int
    payloads: Mapping[Name, Payload]


def write(folder: Path, ledger: Ledger, *, step: int, loader_position: int, payloads: Mapping[Name, Payload]) -> None:
    """Into ``folder``, where the checkpoints before it are then removed."""
    folder.mkdir(exist_ok=True)
    _remove_partial(folder)
    path = folder / f"step-{step:07d}"
    partial = folder / (path.name + _PARTIAL)
    partial.mkdir()
    ledger.snapshot(partial, step)
    rest = {
        "step": step,
        "loader_position": loader_position,
        "payloads": [[*name, payload.tokens, payload.attempt] for name, payload in payloads.items()],
    }
    unnamed = partial / f"{_REST}{_PARTIAL}"
    unnamed.write_text(json.dumps(rest))
    move_durably(unnamed, partial / _REST)
    os.rename(partial, path)
    _sync(folder)
    for former in _whole(folder)[:-1]:
        former.rename(folder / (former.name + _PARTIAL))
    _remove_partial(folder)


def newest(folder: Path) -> Checkpoint | None:
    """The last whole checkpoint; None where there is none yet."""
    found = _whole(folder)
    if not found:
        return None
    rest = json.loads((found[-1] / _REST).read_text())
    return Checkpoint(
        ledger_mark=found[-1] / MARK_NAME,
        step=rest["step"],
        loader_position=rest["loader_position"],
        payloads={
            (key, member): Payload(tokens=tokens, attempt=attempt) for key, member, tokens, attempt in rest["payloads"]
        },
    )


def _whole(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.suffix != _PARTIAL)


def _remove_partial(folder: Path) -> None:
    for partial in folder.glob(f"step-*{_PARTIAL}"):
        shutil.rmtree(partial)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
