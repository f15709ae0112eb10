"""How the lives of a soak ended, on disk: what a supervisor that goes on has to know of the one before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pangu_verl.simulate.soak.kills import Aim
from pangu_verl.simulate.soak.lives import LifeEnd


def read_ends(path: Path) -> list[LifeEnd]:
    """Empty where no life was seen to end."""
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [LifeEnd(**{**end, "aim": end["aim"] and Aim(end["aim"])}) for end in found]


def write_ends(path: Path, ends: Sequence[LifeEnd]) -> None:
    """All of them at once, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(asdict(end)) + "\n" for end in ends))
    partial.replace(path)
