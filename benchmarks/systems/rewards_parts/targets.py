"""The bounds that the rewards are held to, and what was measured against each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import GSM8K, HARD_VERIFY, MATH_VERIFY, OURS

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bound:
    name: str
    part: str
    relation: Literal[">=", "<="]
    limit: float
    value: Callable[[Figures], float]

    def compared(self, figures: Figures) -> dict[str, Any]:
        measured = self.value(figures)
        met = measured >= self.limit if self.relation == ">=" else measured <= self.limit
        return {"name": self.name, "bound": f"{self.relation} {self.limit:g}", "measured": measured, "met": met}


def compared(parts: Mapping[str, Figures]) -> list[dict[str, Any]]:
    """Of those parts that were measured."""
    return [bound.compared(parts[bound.part]) for bound in BOUNDS if bound.part in parts]


def _ours(figures: Figures, file: str | None = None) -> Figures:
    mine = (result for result in figures["results"] if result["grader"] == OURS)
    return next(result for result in mine if file is None or result["file"] == Path(file).name)


def _longest(figures: Figures) -> float:
    return float(max(result["longest_cpu_seconds"] for result in figures["results"] if result["grader"] == OURS))


def _not_passed(data_set: str) -> Callable[[Figures], float]:
    return lambda figures: figures["programs"][data_set] - _ours(figures)["passed"][data_set]["passed"]


def _disagreeing(figures: Figures) -> float:
    result = _ours(figures, GSM8K)
    return int(result["rows"]) - int(result["agreeing"])


def _of_all(figures: Figures) -> float:
    result = _ours(figures, MATH_VERIFY)
    return int(result["agreeing"]) / int(result["rows"])


BOUNDS = (
    Bound("verdicts per CPU second, GSM8K solutions", "maths", ">=", 1000,
          lambda figures: _ours(figures, GSM8K)["verdicts_per_cpu_second"]["median"]),
    Bound("labels of GSM8K solutions not agreed with", "maths", "<=", 0, _disagreeing),
    Bound("recall, HardVerify, uncontested", "maths", ">=", 0.85,
          lambda figures: _ours(figures, HARD_VERIFY)["recall"]),
    Bound("false accepts, HardVerify, uncontested", "maths", "<=", 1,
          lambda figures: _ours(figures, HARD_VERIFY)["false_accepts"]),
    # Of all of them, those with a doubtful label included.
    Bound("agreement, Math-Verify's own cases", "maths", ">=", 0.98, _of_all),
    Bound("longest verdict in CPU s, data", "maths", "<=", 1, _longest),
    Bound("longest verdict in CPU s, hostile answers", "hostile", "<=", 1, _longest),
    Bound("hostile answers paid", "hostile", "<=", 0, lambda figures: _ours(figures)["paid"]),
    Bound("isolated HumanEval programs a second", "code", ">=", 60,
          lambda figures: _ours(figures)["programs_per_second"]["median"]),
    Bound("HumanEval solutions not passed", "code", "<=", 0, _not_passed("humaneval")),
    Bound("MBPP solutions not passed", "code", "<=", 2, _not_passed("mbpp")),
    Bound("LeetCode solutions not passed", "code", "<=", 0, _not_passed("leetcode")),
    Bound("wrong mutants tried", "mutants", ">=", 500, lambda figures: figures["wrong"]),
    Bound("share of wrong mutants rejected", "mutants", ">=", 0.99, lambda figures: _ours(figures)["rejected_share"]),
    Bound("attacks paid", "attacks", "<=", 0, lambda figures: _ours(figures)["paid"]),
    Bound("processes left", "endurance", "<=", 0, lambda figures: figures["processes_left_after_close"]),
    Bound("zombies", "endurance", "<=", 0, lambda figures: figures["after"]["zombies"]),
    Bound("files left", "endurance", "<=", 0, lambda figures: len(figures["files_left"])),
    Bound("growth of memory in MiB", "endurance", "<=", 8, lambda figures: figures["memory_growth_mib"]),
)  # fmt: skip
