"""What a part is held to, in the form in which all of them are reported."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """``is_possible`` is False where ``limits`` shows that nobody can with prompts as they come.

    It is None where nothing of that kind is known.
    """

    name: str
    asked: str
    measured: float
    met: bool
    is_possible: bool | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
