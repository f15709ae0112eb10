"""What became of gold answers, by source and domain: counts, and how often a source rejects what is right.

Invariant: a rate is of the golds that a source judged, accepted or rejected, and comes with its 95% interval
(Clopper-Pearson); where none was judged there is no rate.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pangu_verl.mars.reliability import SHOWN_CONFIDENCE, Rate, interval
from pangu_verl.rewards.wording import share, table

Result = Literal["accepted", "rejected", "unjudged", "no gold"]
NO_GOLD: Result = "no gold"
RESULTS: tuple[Result, ...] = ("accepted", "rejected", "unjudged", NO_GOLD)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What became of one row's gold. "no gold": nothing was wrong with the row, and it has no gold answer to try."""

    id: str | int
    domain: str
    source: str
    result: Result
    reason: str
    seconds: float = 0.0

    @property
    def is_problem(self) -> bool:
        return self.result in ("rejected", "unjudged")


class GoldCounts:
    """Takes findings; memory does not grow with them."""

    def __init__(self) -> None:
        self.total: Counter[Result] = Counter()
        self._counts: dict[tuple[str, str], Counter[Result]] = {}

    @property
    def num_problems(self) -> int:
        return self.total["rejected"] + self.total["unjudged"]

    def add(self, finding: Finding) -> None:
        self.total[finding.result] += 1
        self._counts.setdefault((finding.source, finding.domain), Counter())[finding.result] += 1

    def rates(self) -> list[Rate]:
        """How often each source rejected a gold that it judged, by source and domain."""
        return [
            rate
            for (source, domain), counts in sorted(self._counts.items())
            if (rate := _rate(source, domain, counts)) is not None
        ]

    def to_json(self) -> dict[str, Any]:
        parts = [
            {"source": source, "domain": domain, **_as_json(counts), **_rate_as_json(_rate(source, domain, counts))}
            for (source, domain), counts in sorted(self._counts.items())
        ]
        return {**_as_json(self.total), "by_source_and_domain": parts}

    def text(self) -> str:
        """The same as a table."""
        rows = [
            (
                source,
                domain,
                str(counts.total()),
                *(str(counts[result]) for result in RESULTS),
                _shown(source, domain, counts),
            )
            for (source, domain), counts in sorted(self._counts.items())
        ]
        return table(("source", "domain", "rows", *RESULTS, "false rejects (95% interval)"), rows)


def measurements(rates: list[Rate]) -> dict[str, Any]:
    """What ``--measurements`` writes: the shape of a run's ``rewards/reliability.json``."""
    return {"rates": [asdict(rate) for rate in rates]}


def _rate(source: str, domain: str, counts: Counter[Result]) -> Rate | None:
    wrong, audited = counts["rejected"], counts["rejected"] + counts["accepted"]
    if not audited:
        return None
    low, high = interval(wrong, audited, SHOWN_CONFIDENCE)
    return Rate(
        source=source, domain=domain, claim="reject", origin="gold", audited=audited, wrong=wrong, low=low, high=high
    )


def _as_json(counts: Counter[Result]) -> dict[str, int]:
    return {"rows": counts.total(), **{result.replace(" ", "_"): counts[result] for result in RESULTS}}


def _rate_as_json(rate: Rate | None) -> dict[str, Any]:
    if rate is None:
        return {"false_reject_rate": None, "interval": None}
    return {"false_reject_rate": rate.wrong / rate.audited, "interval": [rate.low, rate.high]}


def _shown(source: str, domain: str, counts: Counter[Result]) -> str:
    rate = _rate(source, domain, counts)
    if rate is None:
        return "unknown"
    return f"{share(rate.wrong / rate.audited)} ({share(rate.low)} to {share(rate.high)})"
