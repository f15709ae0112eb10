"""What became of one test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: How far a program came. ``unknown`` is ours: the sandbox or the row failed, not the program.
Stage = Literal["syntax_error", "runtime_error", "limit", "ran", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``passed`` is None where the test could not be judged, and ``reason`` then says why."""

    passed: bool | None
    stage: Stage
    reason: str
