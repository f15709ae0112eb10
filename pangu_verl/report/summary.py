"""The numbers of a run that a command prints as JSON.

Invariant: shares are of 1 (a gain of 0.35 is 35 points), and what is not known is ``None``, null in JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pangu_verl.report.comparison import Comparison, compare
from pangu_verl.report.run_folder import RunFolder, read_run_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """``rows`` are the validation prompts that were judged both before and after, on which the accuracies stand."""

    run_dir: Path
    accuracy_before: float | None
    accuracy_after: float | None
    gain: float | None
    interval: tuple[float, float] | None
    gain_without_format_failures: float | None
    interval_without_format_failures: tuple[float, float] | None
    format_failures_before: float | None
    format_failures_after: float | None
    rows: int
    train_seconds: float | None
    total_seconds: float | None
    peak_pss_gib: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for ``json.dumps``."""
        found = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return found | {"run_dir": str(self.run_dir)}


def summarise(run_dir: Path) -> RunSummary:
    """Read a run folder and sum it up."""
    folder = read_run_folder(run_dir)
    return summary_of(folder, compare(folder))


def summary_of(folder: RunFolder, comparison: Comparison) -> RunSummary:
    gain, readable = comparison.gain, comparison.readable_gain
    return RunSummary(
        run_dir=folder.path,
        accuracy_before=comparison.accuracy_before,
        accuracy_after=comparison.accuracy_after,
        gain=gain.gain if gain else None,
        interval=(gain.low, gain.high) if gain else None,
        gain_without_format_failures=readable.gain if readable else None,
        interval_without_format_failures=(readable.low, readable.high) if readable else None,
        format_failures_before=comparison.before.format_failures if comparison.before else None,
        format_failures_after=comparison.after.format_failures if comparison.after else None,
        rows=comparison.rows,
        train_seconds=folder.facts.train_seconds,
        total_seconds=folder.facts.total_seconds,
        peak_pss_gib=folder.facts.peak_pss_gib,
    )
