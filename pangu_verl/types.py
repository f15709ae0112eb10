"""The records that rooms hand to each other, and what the objects that plugins register must offer.

Invariant: a verdict's ``passed`` speaks of correctness alone; a score of None means "could not judge" and never 0; a
score with ``passed`` None is a preference.
No behaviour lives here, and nothing heavier than the standard library is imported: the records of the queue and the
scheduler, which some protocols speak of, are named for type checkers alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pangu_verl.queue.entries import Group
    from pangu_verl.queue.terms.candidates import Candidates, FloatColumn
    from pangu_verl.scheduler.readings import Decision, Reading


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


@runtime_checkable
class StalenessPolicy(Protocol):
    """What becomes of groups that grow too old. ``name`` is unique and shows in configuration and metrics.

    ``masks_tokens``: tokens over the bound stay as context and leave the loss; otherwise a group that holds one is
    never handed out. The methods are pure. An optional ``with_options(options)`` gives the same policy, configured.
    """

    name: str
    masks_tokens: bool

    def is_waited_for(self, group: Group) -> bool:
        """Whether no step may start that would leave ``group`` behind until it is over its bound."""
        ...

    def gives_up(self, group: Group, next_version: int, bound_versions: int) -> bool:
        """Whether ``group``, running or ready, is generated anew; ``next_version`` is when it could next be consumed.

        A group given up for ever would never be trained on: a policy has to stop by ``group.evictions``.
        """
        ...


@runtime_checkable
class BoundController(Protocol):
    """Moves the staleness bound. ``name`` is unique and shows in configuration and metrics.

    May remember what it was told: one object serves one run. An optional ``with_options(options)`` gives the same
    controller, configured.
    """

    name: str

    def decide(self, reading: Reading, now: Decision) -> Decision:
        """The bound and window after a step that ran under ``now``. Quick: called once a step."""
        ...


@runtime_checkable
class PriorityTerm(Protocol):
    """A reason to put a group before another. ``name`` is unique: weights are given by it, and it shows in metrics."""

    name: str

    def score(self, candidates: Candidates) -> FloatColumn:
        """One number for each candidate, of about -1..1: the higher, the earlier; 0 says nothing.

        Pure and quick: called at every choice, on up to thousands of candidates, so on columns and not group by group.
        Another shape, another type, NaN, an infinity or an exception ends the run with the name of the term.
        """
        ...
