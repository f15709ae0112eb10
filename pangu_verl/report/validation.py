"""Rows of one ``validation/<step>.jsonl``, as verl dumps them with the extras of pangu_verl's reward.

Invariant: ``None`` in a field means that the row does not say. A row without ``passed`` was not judged; its score is
not taken for correctness, since a score may hold format, length and mode terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangu_verl.report.records import as_flag, as_number, as_text, read_json_lines


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationRow:
    """One answer to one prompt. Rows of two steps belong together if ``prompt`` is the same; order means nothing."""

    prompt: str
    output: str
    gold: str | None
    score: float | None
    passed: bool | None
    format_failure: bool | None
    reason: str | None
    data_source: str | None
    response_tokens: float | None
    truncated: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """All rows of one step. ``skipped`` are the numbers of the lines that could not be read."""

    step: int
    rows: tuple[ValidationRow, ...]
    skipped: tuple[int, ...] = ()

    @property
    def judged(self) -> tuple[ValidationRow, ...]:
        return tuple(row for row in self.rows if row.passed is not None)

    @property
    def accuracy(self) -> float | None:
        return mean(row.passed for row in self.rows)

    @property
    def format_failures(self) -> float | None:
        return mean(row.format_failure for row in self.rows)

    @property
    def mean_response_tokens(self) -> float | None:
        return mean(row.response_tokens for row in self.rows)

    @property
    def mean_response_characters(self) -> float | None:
        return mean(len(row.output) for row in self.rows)

    def truncated_share(self, limit_tokens: int | None) -> float | None:
        """Share of answers cut off: as the rows say, else those that reached the limit."""
        if any(row.truncated is not None for row in self.rows):
            return mean(row.truncated for row in self.rows)
        if limit_tokens is None:
            return None
        return mean(None if row.response_tokens is None else row.response_tokens >= limit_tokens for row in self.rows)

    def only(self, keep: Callable[[ValidationRow], bool]) -> Validation:
        """The same step with fewer rows."""
        return Validation(step=self.step, rows=tuple(row for row in self.rows if keep(row)), skipped=self.skipped)


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are known; ``None`` if none is."""
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None


def rows_by_prompt(rows: Iterable[ValidationRow]) -> dict[str, list[ValidationRow]]:
    grouped: dict[str, list[ValidationRow]] = {}
    for row in rows:
        grouped.setdefault(row.prompt, []).append(row)
    return grouped


def read_validation(path: Path) -> Validation:
    lines = read_json_lines(path)
    rows = tuple(row for found in lines.objects if (row := _parse_row(found)) is not None)
    return Validation(step=int(path.stem), rows=rows, skipped=lines.skipped)


def _parse_row(found: Mapping[str, Any]) -> ValidationRow | None:
    prompt = _prompt_text(found.get("input"))
    if prompt is None:
        return None
    return ValidationRow(
        prompt=prompt,
        output=as_text(found.get("output")) or "",
        gold=as_text(found.get("gts")),
        score=as_number(found.get("score")),
        passed=as_flag(found.get("passed")),
        format_failure=as_flag(found.get("format_failure")),
        reason=as_text(found.get("reason")),
        data_source=as_text(found.get("data_source")),
        response_tokens=as_number(found.get("response_tokens")),
        truncated=as_flag(found.get("truncated")),
    )


def _prompt_text(value: object) -> str | None:
    return value if isinstance(value, str) else as_text(value)


def sources_of(rows: Sequence[ValidationRow]) -> list[str]:
    """The data sources that rows name, in the order of the alphabet."""
    return sorted({row.data_source for row in rows if row.data_source is not None})
