"""How often each source is wrong, measured by audits and gold rows, and which of its claims are therefore not believed.

A claim is "accept" or "reject". An audit is an opinion of a source beside that of one above it on its ladder, which is
taken for the truth; the rate of a claim is the share of audited claims that the other denied. Gold rows
(``pangu-verl rewards validate --measurements``) say something else: how large a share of right answers is rejected. The
same tolerance is applied to it, once, when a run starts.

Rule: a claim is escalated once the interval of its rate over the last audits lies above the tolerated rate, and trusted
again once it lies below; in between nothing changes (hysteresis), and every change starts a new window. So a source
that drifts is found by its last audits, whatever its record was. Intervals are Clopper-Pearson's. Source: project
default; the paper's MARS is "adaptive" and publishes no rule.

Invariants: every change is returned with its evidence and kept; what ``to_json`` gives and ``restore`` takes is the
same measurements and routes. Who is asked what is not decided here (``ladder.py``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from scipy.stats import binomtest

from pangu_verl.mars.ladder import CLAIMS, Claim, Opinion

Origin = Literal["audit", "gold"]

#: Intervals that are shown hold 95%. Changes need more, because every audit is another chance to change by accident.
SHOWN_CONFIDENCE = 0.95
CHANGE_CONFIDENCE = 0.995
STATES: Mapping[frozenset[Claim], str] = {
    frozenset(): "trusted",
    frozenset({"accept"}): "accepts escalated",
    frozenset({"reject"}): "rejects escalated",
    frozenset(CLAIMS): "demoted",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """The most that a claim's rate of errors may be, and over how many of the last audits. Project defaults."""

    error_rate: float = 0.05
    window_audits: int = 200

    @property
    def fewest_audits(self) -> int:
        """Audits without an error that restore trust: more than ln((1 - confidence) / 2) / ln(1 - error rate)."""
        return math.floor(math.log((1 - CHANGE_CONFIDENCE) / 2) / math.log1p(-self.error_rate)) + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """``wrong`` of ``audited`` claims of a source, with the 95% interval of the rate."""

    source: str
    domain: str
    claim: Claim
    origin: Origin
    audited: int
    wrong: int
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change of what is believed of a source, and why. States are the values of ``STATES``."""

    source: str
    domain: str
    before: str
    after: str
    reason: str


@dataclass(slots=True)
class _Record:
    """Of one claim of one source in one domain: counts since the start, and the window since the last change."""

    window: deque[bool]
    audited: int = 0
    wrong: int = 0
    gold_audited: int = 0
    gold_wrong: int = 0
    is_escalated: bool = False


@dataclass(slots=True)
class Reliability:
    """The measurements of a run. ``changes`` are those since it was made or restored."""

    tolerance: Tolerance = field(default_factory=Tolerance)
    changes: list[Change] = field(default_factory=list)
    _records: dict[tuple[str, str, Claim], _Record] = field(default_factory=dict)

    def escalated(self, source: str, domain: str) -> frozenset[Claim]:
        """The claims of a source that are not believed in a domain."""
        return frozenset(
            claim
            for claim in CLAIMS
            if (record := self._records.get((source, domain, claim))) is not None and record.is_escalated
        )

    def routes(self) -> dict[tuple[str, str], frozenset[Claim]]:
        """By source and domain, those alone that have a claim that is not believed."""
        pairs = {(source, domain) for source, domain, _ in self._records}
        return {pair: claims for pair in pairs if (claims := self.escalated(*pair))}

    def take_opinions(self, domain: str, opinions: Sequence[Opinion]) -> list[Change]:
        """Measure each opinion of a row by the highest one that claims something; the changes that follow."""
        claiming = [opinion for opinion in opinions if opinion.claim is not None]
        if not claiming:
            return []
        highest = claiming[-1]
        if highest.claim in self.escalated(highest.source, domain):
            return []  # no measure of anything
        found = [
            self.audit(opinion.source, domain, opinion.claim, is_wrong=opinion.claim != highest.claim)
            for opinion in claiming[:-1]
            if opinion.claim is not None
        ]
        return [change for change in found if change is not None]

    def audit(self, source: str, domain: str, claim: Claim, *, is_wrong: bool) -> Change | None:
        """Count one audited claim."""
        record = self._record(source, domain, claim)
        record.audited += 1
        record.wrong += is_wrong
        record.window.append(is_wrong)
        wrong, audited = sum(record.window), len(record.window)
        low, high = interval(wrong, audited, CHANGE_CONFIDENCE)
        is_above, is_below = low > self.tolerance.error_rate, high < self.tolerance.error_rate
        if not (is_below if record.is_escalated else is_above):
            return None
        side = "below" if is_below else "above"
        reason = (
            f"{wrong} of the last {audited} audited {claim}s were wrong ({_percent(low, high)}), {side} the tolerated "
            f"{100 * self.tolerance.error_rate:g}%; since the start {record.wrong} of {record.audited}"
        )
        record.window.clear()
        return self._changed(source, domain, record, is_escalated=is_above, reason=reason)

    def take_gold(self, rates: Iterable[Rate]) -> list[Change]:
        """Start from what gold rows say: a source that rejects too many of them is not believed when it rejects."""
        changes: list[Change] = []
        for rate in rates:
            record = self._record(rate.source, rate.domain, rate.claim)
            record.gold_audited, record.gold_wrong = rate.audited, rate.wrong
            low, high = interval(rate.wrong, rate.audited, CHANGE_CONFIDENCE)
            if low > self.tolerance.error_rate and not record.is_escalated:
                reason = f"{rate.wrong} of {rate.audited} gold answers were rejected ({_percent(low, high)})"
                changes.append(self._changed(rate.source, rate.domain, record, is_escalated=True, reason=reason))
        return changes

    def rates(self) -> list[Rate]:
        """Everything that was measured, by source, domain, claim and origin."""
        found: list[Rate] = []
        for (source, domain, claim), record in sorted(self._records.items()):
            for origin, audited, wrong in (
                ("audit", record.audited, record.wrong),
                ("gold", record.gold_audited, record.gold_wrong),
            ):
                if audited:
                    low, high = interval(wrong, audited, SHOWN_CONFIDENCE)
                    found.append(
                        Rate(
                            source=source,
                            domain=domain,
                            claim=claim,
                            origin="audit" if origin == "audit" else "gold",
                            audited=audited,
                            wrong=wrong,
                            low=low,
                            high=high,
                        )
                    )
        return found

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {
                "source": source,
                "domain": domain,
                "claim": claim,
                **{name: getattr(record, name) for name in _COUNTS},
                "window": [int(is_wrong) for is_wrong in record.window],
                "is_escalated": record.is_escalated,
            }
            for (source, domain, claim), record in sorted(self._records.items())
        ]

    def restore(self, found: object) -> None:
        """Go on from what ``to_json`` gave; raises ``ValueError`` and changes nothing for anything else."""
        if not isinstance(found, list):
            raise ValueError("expected a list of measured claims")
        self._records = dict(self._read(row) for row in found)
        self.changes = []

    def _record(self, source: str, domain: str, claim: Claim) -> _Record:
        key = (source, domain, claim)
        if key not in self._records:
            self._records[key] = _Record(deque(maxlen=self.tolerance.window_audits))
        return self._records[key]

    def _changed(self, source: str, domain: str, record: _Record, *, is_escalated: bool, reason: str) -> Change:
        before = STATES[self.escalated(source, domain)]
        record.is_escalated = is_escalated
        after = STATES[self.escalated(source, domain)]
        change = Change(source=source, domain=domain, before=before, after=after, reason=reason)
        self.changes.append(change)
        return change

    def _read(self, row: object) -> tuple[tuple[str, str, Claim], _Record]:
        if not isinstance(row, dict) or row.get("claim") not in CLAIMS:
            raise ValueError(f"expected a measured claim, got {row!r:.200}")
        source, domain, window = row.get("source"), row.get("domain"), row.get("window")
        counts = {name: row.get(name) for name in _COUNTS}
        if not (isinstance(source, str) and isinstance(domain, str) and isinstance(row.get("is_escalated"), bool)):
            raise ValueError("expected source, domain and is_escalated in each measured claim")
        if not isinstance(window, list) or any(mark not in (0, 1) for mark in window):
            raise ValueError("expected a list of 0 and 1 as the window of a measured claim")
        if any(type(count) is not int or count < 0 for count in counts.values()):
            raise ValueError(f"expected counts in each measured claim, got {counts!r:.200}")
        marks = deque((mark == 1 for mark in window), maxlen=self.tolerance.window_audits)
        claim: Claim = "accept" if row["claim"] == "accept" else "reject"
        return (source, domain, claim), _Record(marks, is_escalated=row["is_escalated"], **counts)  # type: ignore[arg-type]


_COUNTS = ("audited", "wrong", "gold_audited", "gold_wrong")


@lru_cache(maxsize=1 << 16)
def interval(wrong: int, audited: int, confidence: float) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a rate. Kept, because windows meet the same counts again and again."""
    found = binomtest(wrong, audited).proportion_ci(confidence_level=confidence)
    return float(found.low), float(found.high)


def _percent(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}%"
