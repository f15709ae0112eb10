"""First validation against last: the same prompts on both sides, and what had to be left out.

Invariant: every number that sets before against after is taken over prompts that both sides hold; accuracy over those
of them that were judged both times. What was left out is counted and said. With one validation only there is no gain,
and its numbers stand on the side of its step: step 0 is before, any other is after.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pangu_verl.report.run_folder import RunFolder, skipped_lines_note
from pangu_verl.report.statistics import PairedGain, paired_gain, share_interval
from pangu_verl.report.validation import Validation, rows_by_prompt, sources_of


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationPoint:
    """One validation as a point of a figure. ``low`` and ``high`` bound the accuracy of that step alone."""

    step: int
    rows: int
    accuracy: float | None
    low: float | None
    high: float | None
    format_failures: float | None
    response_tokens: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceGain:
    """Before and after on the rows of one data source. ``gain`` is ``None`` where no row was judged both times."""

    source: str
    gain: PairedGain | None
    format_failures_before: float | None
    format_failures_after: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """``before`` and ``after`` hold the prompts in common (all of them if there is one side only)."""

    before: Validation | None
    after: Validation | None
    gain: PairedGain | None
    readable_gain: PairedGain | None
    by_source: tuple[SourceGain, ...]
    points: tuple[ValidationPoint, ...]
    notes: tuple[str, ...]

    @property
    def accuracy_before(self) -> float | None:
        return self.gain.before if self.gain else self.before.accuracy if self.before else None

    @property
    def accuracy_after(self) -> float | None:
        return self.gain.after if self.gain else self.after.accuracy if self.after else None

    @property
    def rows(self) -> int:
        """Rows behind the accuracy."""
        if self.gain:
            return self.gain.pairs
        only = self.before or self.after
        return len(only.judged) if only and not (self.before and self.after) else 0


def compare(folder: RunFolder) -> Comparison:
    """Read every validation of a run once, keeping the rows of the first and the last."""
    points: list[ValidationPoint] = []
    first: Validation | None = None
    last: Validation | None = None
    for validation in folder.validations():
        points.append(_point(validation))
        first, last = first or validation, validation
    if first is None or last is None:
        return _comparison(None, None, points, [])
    if first is last:
        notes = list(_notes_on_one(first))
        before, after = (first, None) if first.step == 0 else (None, first)
        return _comparison(before, after, points, notes)
    earlier, later = _shared(first, last), _shared(last, first)
    return _comparison(earlier, later, points, list(_notes_on_both(first, last, earlier, later)))


def _comparison(
    before: Validation | None, after: Validation | None, points: list[ValidationPoint], notes: list[str]
) -> Comparison:
    return Comparison(
        before=before,
        after=after,
        gain=_gain(before, after),
        readable_gain=_gain(_readable(before), _readable(after)),
        by_source=_gains_by_source(before, after),
        points=tuple(points),
        notes=tuple(notes),
    )


def _shared(validation: Validation, other: Validation) -> Validation:
    """The rows whose prompt the other side holds too."""
    prompts = {row.prompt for row in other.rows}
    return validation.only(lambda row: row.prompt in prompts)


def _readable(validation: Validation | None) -> Validation | None:
    """Rows known to hold an answer that could be read."""
    return validation and validation.only(lambda row: row.format_failure is False)


def _gain(before: Validation | None, after: Validation | None) -> PairedGain | None:
    if before is None or after is None:
        return None
    return paired_gain(_outcomes(before), _outcomes(after))


def _outcomes(validation: Validation) -> dict[str, list[bool]]:
    grouped = rows_by_prompt(validation.judged)
    return {prompt: [bool(row.passed) for row in rows] for prompt, rows in grouped.items()}


def _gains_by_source(before: Validation | None, after: Validation | None) -> tuple[SourceGain, ...]:
    if before is None or after is None:
        return ()
    sources = sources_of([*before.rows, *after.rows])
    return tuple(_gain_of_source(source, _from(before, source), _from(after, source)) for source in sources)


def _from(validation: Validation, source: str) -> Validation:
    return validation.only(lambda row: row.data_source == source)


def _gain_of_source(source: str, before: Validation, after: Validation) -> SourceGain:
    return SourceGain(
        source=source,
        gain=_gain(before, after),
        format_failures_before=before.format_failures,
        format_failures_after=after.format_failures,
    )


def _point(validation: Validation) -> ValidationPoint:
    judged = validation.judged
    low, high = share_interval(sum(bool(row.passed) for row in judged), len(judged)) if judged else (None, None)
    return ValidationPoint(
        step=validation.step,
        rows=len(validation.rows),
        accuracy=validation.accuracy,
        low=low,
        high=high,
        format_failures=validation.format_failures,
        response_tokens=validation.mean_response_tokens,
    )


def _notes_on_both(first: Validation, last: Validation, before: Validation, after: Validation) -> Iterator[str]:
    for validation in (first, last):
        yield from _notes_on_one(validation)
    for whole, common, other in ((first, before, last), (last, after, first)):
        if alone := len(whole.rows) - len(common.rows):
            yield f"{alone} row(s) of step {whole.step} have no partner at step {other.step} and are left out."


def _notes_on_one(validation: Validation) -> Iterator[str]:
    name = f"validation/{validation.step}.jsonl"
    if validation.skipped:
        yield skipped_lines_note(name, validation.skipped)
    rows = len(validation.rows)
    if unjudged := rows - len(validation.judged):
        yield f"{name}: {unjudged} of {rows} rows could not be judged (`passed` is null or missing) and are left out."
    if repeated := rows - len(rows_by_prompt(validation.rows)):
        yield f"{name}: {repeated} row(s) share a prompt with another; a prompt counts once, its answers averaged."
