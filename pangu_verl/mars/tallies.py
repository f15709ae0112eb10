"""Counts of what each source said in each domain.

Invariants: every opinion is counted once, as judged or as unjudged with a class of reason; memory does not grow with
the rows; what ``tallies_to_json`` gives and ``tallies_from_json`` takes is the same counts.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pangu_verl.mars.ladder import Opinion

#: Classes of reasons kept per source and domain; what comes after them counts as ``OTHER``.
MAXIMUM_REASON_CLASSES = 32
OTHER = "other"

_REASON_CHARACTERS = 80
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER = re.compile(r"\d[\d.,_]*")


@dataclass(kw_only=True, slots=True)
class Tally:
    """Counts of one source in one domain. ``unjudged`` counts by class of reason; ``seconds`` is a sum."""

    judged: int = 0
    passed: int = 0
    unjudged: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, opinion: Opinion) -> None:
        if math.isfinite(opinion.seconds):
            self.seconds += max(opinion.seconds, 0.0)
        if opinion.score is not None:
            self.judged += 1
            self.passed += opinion.passed is True
            return
        reason = reason_class(opinion.reason)
        known = reason in self.unjudged or len(self.unjudged) < MAXIMUM_REASON_CLASSES
        self.unjudged[reason if known else OTHER] += 1


#: By source and domain.
Tallies = dict[tuple[str, str], Tally]


def tallies_to_json(tallies: Mapping[tuple[str, str], Tally]) -> list[dict[str, Any]]:
    return [
        {
            "source": source,
            "domain": domain,
            "judged": tally.judged,
            "passed": tally.passed,
            "unjudged": dict(tally.unjudged),
            "seconds": tally.seconds,
        }
        for (source, domain), tally in tallies.items()
    ]


def tallies_from_json(found: object) -> Tallies:
    """Raises ``ValueError`` for anything that ``tallies_to_json`` cannot have written."""
    if not isinstance(found, list):
        raise ValueError("expected a list of counts")
    tallies: Tallies = {}
    for row in found:
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in ("source", "domain")):
            raise ValueError("expected a source and a domain in each row of counts")
        if (row["source"], row["domain"]) in tallies:
            raise ValueError(f"the counts of source {row['source']!r} in domain {row['domain']!r} come twice")
        tallies[row["source"], row["domain"]] = _tally(row)
    return tallies


def reason_class(reason: str) -> str:
    """What reasons of one kind have in common: quoted texts and numbers are taken out, and the length is bounded.

    >>> reason_class("the gold answer 'x+' cannot be read (17 characters)")
    'the gold answer … cannot be read (N characters)'
    """
    # Cut first: a reason may quote what a model wrote, which has no bounds.
    text = " ".join(reason[: 10 * _REASON_CHARACTERS].split())
    text = _NUMBER.sub("N", _QUOTED.sub("…", text))
    return text[:_REASON_CHARACTERS].strip() or OTHER


def _tally(row: Mapping[str, Any]) -> Tally:
    unjudged, seconds = row.get("unjudged"), row.get("seconds")
    if not isinstance(unjudged, dict) or len(unjudged) > MAXIMUM_REASON_CLASSES + 1:
        raise ValueError(f"expected up to {MAXIMUM_REASON_CLASSES + 1} reasons in 'unjudged'")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(f"expected a finite number of seconds, got {seconds!r}")
    tally = Tally(
        judged=_count(row.get("judged")),
        passed=_count(row.get("passed")),
        unjudged=Counter({str(reason): _count(count) for reason, count in unjudged.items()}),
        seconds=float(seconds),
    )
    if tally.passed > tally.judged:
        raise ValueError(f"{tally.passed} rows passed of {tally.judged} that were judged")
    return tally


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a count, got {value!r}")
    return value
