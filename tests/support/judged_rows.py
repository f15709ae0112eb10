"""Rows, verdicts and sources of rewards, made by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pangu_verl.mars.ladder import Opinion
from pangu_verl.mars.state import JudgedRow
from pangu_verl.types import RewardRow, Verdict


def row(answer: str = "4", **fields: Any) -> RewardRow:
    made = {"id": "7", "domain": "math", "question": "1 + 3?", "response": answer, "answer": answer, **fields}
    return RewardRow(**made)


def verdict(passed: bool | None, *, score: float | None = None, source: str = "maths", reason: str = "so") -> Verdict:
    """``passed`` None without a score could not judge, with one it is a preference."""
    found = score if passed is None else float(passed)
    return Verdict(score=found, passed=passed, reason=reason, source=source)


@dataclass
class MadeSource:
    """A source that answers by a function, and keeps the rows that it was asked about."""

    name: str
    answer: Callable[[RewardRow], Any]
    domains: frozenset[str] = frozenset({"math"})
    seen: list[RewardRow] = field(default_factory=list)

    async def judge(self, row: RewardRow) -> Verdict:
        self.seen.append(row)
        found: Verdict = self.answer(row)
        return found


def always(name: str, passed: bool | None, score: float | None = None, **fields: Any) -> MadeSource:
    return MadeSource(name, lambda _: verdict(passed, score=score, source=name, reason=f"{name} says so"), **fields)


def opinion(source: str, passed: bool | None, *, score: float | None = None, reason: str = "so") -> Opinion:
    found = score if passed is None else float(passed)
    return Opinion(source=source, score=found, passed=passed, reason=reason, seconds=0.5)


def judged_row(
    passed: bool | None = True, *, source: str = "maths", domain: str = "math", reason: str = "no gold"
) -> JudgedRow:
    """A row that one source alone was asked about."""
    found = verdict(passed, source=source, reason=reason)
    return JudgedRow(id="7", domain=domain, verdict=found, opinions=(opinion(source, passed, reason=reason),))
