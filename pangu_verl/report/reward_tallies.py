"""What half a million verdicts come to: by source and domain, by reason, and where sources disagree.

Invariants: memory does not grow with the verdicts, but for eight bytes each of seconds. Of sources, domains and reasons
the first ``MOST_ENTRIES`` pairs are counted apart and the rest as ``OTHERS``; of terms the first ``MOST_TERMS``. An
unjudged verdict enters no mean, only the share of the unjudged. Every disagreement is counted, a few are kept.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import median
from typing import TypeVar

from pangu_verl.mars.tallies import reason_class
from pangu_verl.report.verdicts import Opinion, RecordedVerdict

OTHERS = "others"
MOST_ENTRIES = 200
MOST_TERMS = 16
MOST_DISAGREEMENTS = 20
_KEPT_CHARACTERS = 300

Pair = tuple[str, str]
_Entry = TypeVar("_Entry")


@dataclass(kw_only=True, slots=True)
class Mean:
    """A mean of what was added, ``None`` of nothing."""

    count: int = 0
    total: float = 0.0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.count += 1
            self.total += value

    def join(self, other: Mean) -> None:
        self.count += other.count
        self.total += other.total

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None


@dataclass(kw_only=True, slots=True)
class VerdictTally:
    """Verdicts that counted. All but ``rows`` and ``seconds`` speak of judged rows alone.

    ``passed`` is over the rows that say whether they passed, which a preference does not; ``gate_faults`` over those to
    which the format gate was applied.
    """

    rows: int = 0
    score: Mean = field(default_factory=Mean)
    passed: Mean = field(default_factory=Mean)
    correctness: Mean = field(default_factory=Mean)
    gate_faults: Mean = field(default_factory=Mean)
    auxiliary: dict[str, Mean] = field(default_factory=dict)
    seconds: array[float] = field(default_factory=lambda: array("d"))

    def add(self, verdict: RecordedVerdict) -> None:
        counted = verdict.counted
        self.rows += 1
        if counted.seconds is not None:
            self.seconds.append(counted.seconds)
        if counted.score is None:
            return
        self.score.add(counted.score)
        self.passed.add(counted.passed)
        self.correctness.add(verdict.correctness)
        self.gate_faults.add(verdict.gate_fault)
        for term, amount in verdict.auxiliary.items():
            self._join_term(term, Mean(count=1, total=amount))

    def join(self, other: VerdictTally) -> None:
        self.rows += other.rows
        self.score.join(other.score)
        self.passed.join(other.passed)
        self.correctness.join(other.correctness)
        self.gate_faults.join(other.gate_faults)
        self.seconds.extend(other.seconds)
        for term, amounts in other.auxiliary.items():
            self._join_term(term, amounts)

    def _join_term(self, term: str, amounts: Mean) -> None:
        if term in self.auxiliary or len(self.auxiliary) < MOST_TERMS:
            self.auxiliary.setdefault(term, Mean()).join(amounts)

    @property
    def judged(self) -> int:
        return self.score.count

    @property
    def unjudged_share(self) -> float | None:
        return (self.rows - self.judged) / self.rows if self.rows else None

    @property
    def median_s(self) -> float | None:
        return median(self.seconds) if self.seconds else None

    @property
    def p99_s(self) -> float | None:
        """The time that 99 of 100 verdicts took at most (nearest rank)."""
        return sorted(self.seconds)[math.ceil(0.99 * len(self.seconds)) - 1] if self.seconds else None


@dataclass(kw_only=True, slots=True)
class AskedTally:
    """Opinions of one source, whether or not they counted."""

    asked: int = 0
    audits: int = 0
    unjudged: int = 0
    counted: int = 0
    passed: Mean = field(default_factory=Mean)

    def add(self, opinion: Opinion, *, counted: bool) -> None:
        self.asked += 1
        self.audits += opinion.is_audit
        self.unjudged += opinion.score is None
        self.counted += counted
        self.passed.add(opinion.passed)


@dataclass(kw_only=True, slots=True)
class ReasonTally:
    """How often a source could not judge for a reason: with the row left unjudged, or judged by another source."""

    left: int = 0
    rescued: int = 0


@dataclass(kw_only=True, slots=True)
class PairTally:
    """Rows of which two sources both said whether they passed."""

    both: int = 0
    first_alone: int = 0
    second_alone: int = 0

    @property
    def disagreements(self) -> int:
        return self.first_alone + self.second_alone


@dataclass(kw_only=True, slots=True)
class RewardTallies:
    """All verdicts of a run. Keys are source and domain, source and class of reason, or two sources by alphabet."""

    verdicts: dict[Pair, VerdictTally] = field(default_factory=dict)
    asked: dict[Pair, AskedTally] = field(default_factory=dict)
    reasons: dict[Pair, ReasonTally] = field(default_factory=dict)
    pairs: dict[Pair, PairTally] = field(default_factory=dict)
    disputed_rows: int = 0
    disputes: list[RecordedVerdict] = field(default_factory=list)

    def add(self, verdict: RecordedVerdict) -> None:
        counted = verdict.counted
        _entry(self.verdicts, (counted.source, verdict.domain), VerdictTally).add(verdict)
        for position, opinion in enumerate(verdict.opinions):
            asked = _entry(self.asked, (opinion.source, verdict.domain), AskedTally)
            asked.add(opinion, counted=position == verdict.counted_position)
        self._add_reasons(verdict)
        if len(verdict.opinions) > 1:
            self._add_pairs(verdict)

    @property
    def has_ladders(self) -> bool:
        """Whether any row was shown to more than the source whose verdict counted."""
        return sum(tally.asked for tally in self.asked.values()) > sum(tally.rows for tally in self.verdicts.values())

    @property
    def all_rows(self) -> VerdictTally:
        return joined(self.verdicts.values())

    def by_source(self) -> dict[str, VerdictTally]:
        """Over domains, in the order of the alphabet."""
        names = sorted({source for source, _ in self.verdicts})
        return {name: joined(tally for (source, _), tally in self.verdicts.items() if source == name) for name in names}

    def frequent_reasons(self) -> list[tuple[Pair, ReasonTally]]:
        """Why sources could not judge, those first that left most rows unjudged."""
        return sorted(self.reasons.items(), key=lambda item: (-item[1].left, -item[1].rescued, item[0]))

    def _add_reasons(self, verdict: RecordedVerdict) -> None:
        silent = {(said.source, reason_class(said.reason)) for said in verdict.opinions if said.score is None}
        if verdict.counted.score is not None:
            for key in silent:
                _entry(self.reasons, key, ReasonTally).rescued += 1
            return
        # A broken mode or term leaves a row unjudged of which every source had an opinion.
        for key in silent or {(verdict.counted.source, reason_class(verdict.counted.reason))}:
            _entry(self.reasons, key, ReasonTally).left += 1

    def _add_pairs(self, verdict: RecordedVerdict) -> None:
        said = [(opinion.source, opinion.passed) for opinion in verdict.opinions if opinion.passed is not None]
        is_disputed = False
        for one, other in combinations(said, 2):
            (first, first_passed), (second, second_passed) = sorted((one, other))
            tally = _entry(self.pairs, (first, second), PairTally)
            tally.both += 1
            tally.first_alone += first_passed and not second_passed
            tally.second_alone += second_passed and not first_passed
            is_disputed |= first_passed != second_passed
        self.disputed_rows += is_disputed
        if is_disputed and len(self.disputes) < MOST_DISAGREEMENTS:
            self.disputes.append(_shortened(verdict))


def joined(tallies: Iterable[VerdictTally]) -> VerdictTally:
    whole = VerdictTally()
    for tally in tallies:
        whole.join(tally)
    return whole


def _entry(known: dict[Pair, _Entry], key: Pair, make: Callable[[], _Entry]) -> _Entry:
    """The entry of a key, or that of all others once there are too many."""
    found = known.get(key)
    if found is None:
        if len(known) >= MOST_ENTRIES:
            key = (OTHERS, OTHERS)
        found = known.setdefault(key, make())
    return found


def _shortened(verdict: RecordedVerdict) -> RecordedVerdict:
    """What is kept of a line, which may quote all that a model wrote."""
    opinions = (replace(opinion, reason=_cut(opinion.reason)) for opinion in verdict.opinions)
    return replace(verdict, opinions=tuple(opinions), counted=replace(verdict.counted, reason=""))


def _cut(text: str) -> str:
    flat = " ".join(text[: 4 * _KEPT_CHARACTERS].split())
    is_whole = len(text) <= 4 * _KEPT_CHARACTERS and len(flat) <= _KEPT_CHARACTERS
    return flat if is_whole else f"{flat[:_KEPT_CHARACTERS]} …"
