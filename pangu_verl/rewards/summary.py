"""The figures of a set of verdicts: in all, and by source and domain. Memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pangu_verl.rewards.wording import table

UNKNOWN = "unknown"


@dataclass(kw_only=True, slots=True)
class Counts:
    """``judged`` rows have a score; ``passed`` is correctness. ``score_sum`` is over the judged ones."""

    rows: int = 0
    judged: int = 0
    passed: int = 0
    score_sum: float = 0.0

    def add(self, score: float | None, passed: bool | None) -> None:
        self.rows += 1
        self.judged += score is not None
        self.passed += passed is True
        self.score_sum += score or 0.0

    @property
    def mean_score(self) -> float | None:
        """None where nothing was judged."""
        return self.score_sum / self.judged if self.judged else None

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "judged": self.judged,
            "unjudged": self.rows - self.judged,
            "passed": self.passed,
            "mean_score": self.mean_score,
        }


class Summary:
    """Takes verdict lines, as ``score.verdict_line`` makes them."""

    def __init__(self) -> None:
        self.total = Counts()
        self._counts: dict[tuple[str, str], Counts] = {}

    def add(self, line: Mapping[str, Any]) -> None:
        key = (line["source"], line["domain"])
        for counts in (self.total, self._counts.setdefault(key, Counts())):
            counts.add(line["score"], line["passed"])

    def to_json(self) -> dict[str, Any]:
        parts = [
            {"source": source, "domain": domain, **counts.to_json()}
            for (source, domain), counts in sorted(self._counts.items())
        ]
        return {**self.total.to_json(), "by_source_and_domain": parts}

    def text(self) -> str:
        """The same as a table."""
        rows = [
            _cells(source, domain, counts)
            for (source, domain), counts in [*sorted(self._counts.items()), (("all", ""), self.total)]
        ]
        return table(("source", "domain", "rows", "judged", "unjudged", "passed", "mean score"), rows)


def _cells(source: str, domain: str, counts: Counts) -> tuple[str, ...]:
    mean = UNKNOWN if counts.mean_score is None else f"{counts.mean_score:.3f}"
    numbers = (counts.rows, counts.judged, counts.rows - counts.judged, counts.passed)
    return (source, domain, *map(str, numbers), mean)
