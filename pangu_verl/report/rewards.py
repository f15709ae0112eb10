"""``rewards/`` of a run folder: the audit trail of its rewards, read whole.

    verdicts.jsonl      every verdict that counted (``verdicts``), summed up in ``reward_tallies``
    changes.jsonl       when a source gained or lost trust, and why
    reliability.json    how often a source was found wrong

Invariants: a run without the folder has no audit (``None``); whatever the files hold, it is read as far as it can be,
one line at a time, and what was left out is counted and said. The line that a killed run cut off at the end of a file
is no fault.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pangu_verl.report.records import as_number, read_object, stream_json_lines
from pangu_verl.report.reward_tallies import RewardTallies
from pangu_verl.report.verdicts import parse_verdict, text_of

FOLDER = "rewards"
MOST_CHANGES = 100
MOST_RATES = 200
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustChange:
    """One change of how far a source is trusted in a domain."""

    at: str
    source: str
    domain: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredRate:
    """How often a source was found wrong where it made a claim. ``is_accept`` tells false accepts from false rejects.

    ``low`` and ``high`` bound the share of wrong ones among ``audited``, as the run wrote them.
    """

    source: str
    domain: str
    is_accept: bool
    origin: str
    audited: int
    wrong: int
    low: float | None
    high: float | None

    @property
    def share(self) -> float | None:
        return self.wrong / self.audited if self.audited else None


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardAudit:
    """What ``rewards/`` says. ``changes`` are the last of ``changes_found``, in the order of the file."""

    tallies: RewardTallies
    rates: tuple[MeasuredRate, ...]
    changes: tuple[TrustChange, ...]
    changes_found: int
    notes: tuple[str, ...]


def read_rewards(run_dir: Path) -> RewardAudit | None:
    """Read the audit trail of a run, or ``None`` if it left none."""
    folder = run_dir / FOLDER
    if not folder.is_dir():
        return None
    notes: list[str] = []
    tallies = RewardTallies()
    for verdict in _parsed_lines(folder / "verdicts.jsonl", parse_verdict, notes):
        tallies.add(verdict)
    changes: deque[TrustChange] = deque(maxlen=MOST_CHANGES)
    changes_found = 0
    for change in _parsed_lines(folder / "changes.jsonl", _parse_change, notes):
        changes.append(change)
        changes_found += 1
    return RewardAudit(
        tallies=tallies,
        rates=_read_rates(folder / "reliability.json", notes),
        changes=tuple(changes),
        changes_found=changes_found,
        notes=tuple(notes),
    )


def _parsed_lines(
    path: Path, parse: Callable[[Mapping[str, Any]], _Parsed | None], notes: list[str]
) -> Iterator[_Parsed]:
    """What could be parsed, line by line; how many lines could not is added to ``notes`` at the end."""
    if not path.is_file():
        return
    first, malformed = 0, 0
    for line in stream_json_lines(path):
        parsed = parse(line.found) if line.found is not None else None
        if parsed is not None:
            yield parsed
        elif line.found is not None or not line.is_cut:
            first = first or line.number
            malformed += 1
    if malformed:
        notes.append(f"{FOLDER}/{path.name}: {malformed:,} malformed line(s) left out (the first is line {first:,}).")


def _parse_change(found: Mapping[str, Any]) -> TrustChange | None:
    texts = {name: text_of(found.get(name)) for name in ("at", "source", "domain", "before", "after")}
    if not texts["source"] or not texts["after"]:
        return None
    reason = found.get("reason")
    return TrustChange(**texts, reason=reason if isinstance(reason, str) else "")


def _read_rates(path: Path, notes: list[str]) -> tuple[MeasuredRate, ...]:
    if not path.is_file():
        return ()
    found = (read_object(path.read_bytes().decode("utf-8", "replace")) or {}).get("rates")
    if not isinstance(found, list):
        notes.append(f"{FOLDER}/{path.name} holds no rates: how reliable the sources are is unknown.")
        return ()
    rates = [rate for entry in found if isinstance(entry, dict) and (rate := _parse_rate(entry)) is not None]
    if malformed := len(found) - len(rates):
        notes.append(f"{FOLDER}/{path.name}: {malformed:,} malformed rate(s) left out.")
    if len(rates) > MOST_RATES:
        notes.append(f"{FOLDER}/{path.name}: {len(rates):,} rates, of which the first {MOST_RATES} are shown.")
    return tuple(_in_order(rates[:MOST_RATES]))


def _parse_rate(found: Mapping[str, Any]) -> MeasuredRate | None:
    source, claim = text_of(found.get("source")), found.get("claim")
    audited, wrong = (_count(found.get(name)) for name in ("audited", "wrong"))
    if not source or claim not in ("accept", "reject") or audited is None or wrong is None or wrong > audited:
        return None
    return MeasuredRate(
        source=source,
        domain=text_of(found.get("domain")),
        is_accept=claim == "accept",
        origin=text_of(found.get("origin")),
        audited=audited,
        wrong=wrong,
        low=_share(found.get("low")),
        high=_share(found.get("high")),
    )


def _in_order(rates: Sequence[MeasuredRate]) -> list[MeasuredRate]:
    return sorted(rates, key=lambda rate: (rate.source, rate.domain, not rate.is_accept, rate.origin))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15 else None


def _share(value: object) -> float | None:
    number = as_number(value)
    return number if number is not None and 0.0 <= number <= 1.0 else None
