"""The records that rooms hand to each other: reward rows, verdicts, and what reward sources and terms must offer.

Invariant: a verdict's ``passed`` speaks of correctness alone; a score of None means "could not judge" and never 0; a
score with ``passed`` None is a preference.
No behaviour lives here, and nothing heavier than the standard library is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardRow:
    """One response to judge.

    ``response`` is the whole output of the model; ``answer`` is the part after the reasoning, which alone is judged.
    """

    id: str
    domain: str
    question: str
    response: str
    answer: str
    ground_truth: str | None = None
    tests: Sequence[Mapping[str, Any]] = ()
    checks: Sequence[Mapping[str, Any]] = ()
    mode: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one source says of one response.

    ``score`` lies in 0..1; ``passed`` is correctness, None for a preference; both are ``None`` where the source could
    not judge, and ``reason`` then says why. ``seconds`` is wall time spent judging.
    """

    score: float | None
    passed: bool | None
    reason: str
    source: str
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a verdict's score lies in 0..1 or is None; source {self.source!r} gave {self.score!r}")


@runtime_checkable
class RewardSource(Protocol):
    """A judge of responses. ``name`` is unique and shows in metrics; ``domains`` are the rows it may judge."""

    name: str
    domains: frozenset[str]

    async def judge(self, row: RewardRow) -> Verdict:
        """Judge one row. A failure is a verdict with a reason, not an exception."""
        ...


@runtime_checkable
class AuxiliaryTerm(Protocol):
    """What is added to the score beside correctness: repetition, length, mode. ``name`` is unique; it shows in metrics.

    Terms are orthogonal to correctness: ``passed`` is never theirs to change, and what they pay counts on right
    answers alone (``pangu_verl.mars.composition``).
    """

    name: str

    def apply(self, row: RewardRow, verdict: Verdict) -> float:
        """The amount for one row, in -1..1: below 0 takes from the score, 0 says nothing.

        ``verdict`` is that of correctness. Pure and quick: called in the reward worker's event loop. An amount that is
        no number in -1..1, or an exception, leaves the row without a score.
        """
        ...
