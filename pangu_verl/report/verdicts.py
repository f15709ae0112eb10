"""Lines of ``rewards/verdicts.jsonl``: the verdict that counted for a response, and what each source asked said of it.

Invariants: a line that is not of the stated shape is no verdict, rather than one with a guess in it; ``None`` for a
score means "could not judge". Names are cut to a length that a table can hold; reasons are as they came, since whoever
keeps one decides how much of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pangu_verl.report.records import as_number

#: A row is judged by the few sources of its domain; a line with more opinions was not written by a reward worker.
MOST_OPINIONS = 32
_NAME_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """What one source said of a response. ``is_audit`` if it was asked only to check another."""

    source: str
    score: float | None
    passed: bool | None
    reason: str
    seconds: float | None
    is_audit: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedVerdict:
    """One line. ``opinions`` is never empty: a verdict without any stands for its own.

    ``correctness`` is the score before gate and terms, ``gate_fault`` whether the format gate found one (``None`` where
    it was not applied), ``auxiliary`` each term's amount.
    """

    row: str
    domain: str
    counted: Opinion
    opinions: tuple[Opinion, ...]
    correctness: float | None
    gate_fault: bool | None
    auxiliary: Mapping[str, float]

    @property
    def counted_position(self) -> int | None:
        """Which opinion counted, the last of its source; ``None`` where the row stayed unjudged.

        Its score may differ from that of ``counted``, which gate and terms have changed.
        """
        if self.counted.score is None:
            return None
        positions = range(len(self.opinions) - 1, -1, -1)
        return next((position for position in positions if self._is_of_counted(self.opinions[position])), None)

    def _is_of_counted(self, opinion: Opinion) -> bool:
        return opinion.source == self.counted.source and not opinion.is_audit


def parse_verdict(found: Mapping[str, Any]) -> RecordedVerdict | None:
    """The verdict of a line, or ``None`` if its shape is not that of one."""
    counted, opinions = _parse_opinion(found), _parse_opinions(found.get("opinions"))
    if counted is None or opinions is None:
        return None
    breakdown = _mapping(found.get("breakdown"))
    correctness = _mapping(breakdown.get(found["source"]))
    gate = breakdown.get("format_gate")
    amounts = ((cut_name(name), as_number(amount)) for name, amount in _mapping(breakdown.get("auxiliary")).items())
    return RecordedVerdict(
        row=text_of(found.get("id")),
        domain=text_of(found.get("domain")),
        counted=counted,
        opinions=opinions or (counted,),
        correctness=as_number(correctness.get("score")),
        gate_fault=gate.get("fault") is not None if isinstance(gate, dict) else None,
        auxiliary={name: amount for name, amount in amounts if amount is not None},
    )


def text_of(value: object) -> str:
    """A name as the table shows it; empty where there is none."""
    return cut_name(value) if isinstance(value, str) else ""


def cut_name(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:_NAME_CHARACTERS]}…"


def _parse_opinions(found: object) -> tuple[Opinion, ...] | None:
    if found is None:
        return ()
    if not isinstance(found, list) or len(found) > MOST_OPINIONS:
        return None
    opinions = [_parse_opinion(entry) if isinstance(entry, dict) else None for entry in found]
    whole = tuple(opinion for opinion in opinions if opinion is not None)
    return whole if len(whole) == len(opinions) else None


def _parse_opinion(found: Mapping[str, Any]) -> Opinion | None:
    source, score, passed = found.get("source"), found.get("score", ...), found.get("passed", ...)
    number, seconds = as_number(score), as_number(found.get("seconds"))
    is_score = score is None or (number is not None and 0.0 <= number <= 1.0)
    if not isinstance(source, str) or not source.strip() or not is_score or not isinstance(passed, bool | None):
        return None
    reason = found.get("reason")
    return Opinion(
        source=cut_name(source),
        score=number,
        passed=passed,
        reason=reason if isinstance(reason, str) else "",
        seconds=seconds if seconds is not None and seconds >= 0 else None,
        is_audit=found.get("is_audit") is True,
    )


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}
