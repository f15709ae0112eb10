"""What came of a run, in plain words: the outcome, what qualifies it, and whether the run got to its end.

Invariant: a sentence claims no more than the numbers beside it; a gain whose interval includes 0 is called unclear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pangu_verl.report.comparison import Comparison, compare
from pangu_verl.report.facts import RunFacts
from pangu_verl.report.run_folder import RunFolder, read_run_folder
from pangu_verl.report.statistics import PairedGain
from pangu_verl.report.wording import accuracy_digits, interval, number, percent, points, share


@dataclass(frozen=True, kw_only=True, slots=True)
class Banner:
    """A run that did not come to its end. ``kind`` is its colour: "bad" or "going"."""

    kind: str
    title: str
    reason: str | None
    advice: str
    command: str | None


def outcome_sentence(run_dir: Path) -> str:
    """The outcome of the run in ``run_dir`` in one sentence."""
    folder = read_run_folder(run_dir)
    return headline(folder, compare(folder))


def headline(folder: RunFolder, comparison: Comparison) -> str:
    """The outcome in one sentence."""
    if comparison.gain:
        gain, digits = comparison.gain, accuracy_digits(comparison.gain)
        return (
            f"Accuracy on {_rows(gain.pairs, folder.facts)} went from {share(gain.before, digits)} "
            f"to {share(gain.after, digits)}: {points(gain)} points, 95% interval {interval(gain)}."
        )
    rows = _rows(comparison.rows, folder.facts)
    if comparison.before and comparison.after:
        return "Accuracy before and after cannot be compared: no validation row was judged both times."
    if comparison.accuracy_before is not None:
        started = f"Accuracy before training was {share(comparison.accuracy_before)} on {rows}"
        return f"{started}; there is no validation after training yet."
    if comparison.after and comparison.accuracy_after is not None:
        ended = f"Accuracy was {share(comparison.accuracy_after)} on {rows} at step"
        return f"{ended} {comparison.after.step}; there is no earlier validation to compare it with."
    return _headline_of_training(folder)


def _rows(count: int, facts: RunFacts) -> str:
    unseen = "unseen " * _is_unseen(facts)
    return f"{number(count)} {unseen}validation row{'s' * (count != 1)}"


def _is_unseen(facts: RunFacts) -> bool:
    """The quickstart's generator shares nothing between training and validation, unless other files were named."""
    return facts.name == "quickstart" and not any(_DATA_FILES.match(part) for part in facts.command)


def _headline_of_training(folder: RunFolder) -> str:
    rewards = folder.series("critic/score/mean")
    if len(rewards) > 1:
        (first, reward), (last, later) = rewards[0], rewards[-1]
        return (
            f"Training reward went from {share(reward)} at step {first} to {share(later)} at step {last}; "
            "accuracy is unknown, since no validation row was judged."
        )
    return "Nothing can be said of accuracy: no validation row was judged."


def remarks(comparison: Comparison) -> Iterator[str]:
    """What a reader must know beside the outcome."""
    gain, before, after = comparison.gain, comparison.before, comparison.after
    if gain is None or before is None or after is None:
        return
    if gain.includes_zero:
        yield "The interval includes 0: this run alone does not show that accuracy changed."
    start = "before training (step 0)" if before.step == 0 else f"at the first validation (step {before.step})"
    yield (
        f"The same rows were answered {start} and at step {after.step}: "
        f"{_count(gain.fixed)} were fixed, {_count(gain.broken)} were broken."
    )
    if before.format_failures is not None and after.format_failures is not None:
        yield (
            "Answers that could not be read (format failures): "
            f"{percent(before.format_failures)} before, {percent(after.format_failures)} after. "
            + _readable_remark(comparison.readable_gain)
        )


def _readable_remark(readable: PairedGain | None) -> str:
    if readable is None:
        return "No row could be read both times, so the whole change is one of format."
    unclear = " The interval includes 0: what remains may be chance." if readable.includes_zero else ""
    return (
        f"Among the {number(readable.pairs)} rows that could be read both times the gain is "
        f"{points(readable)} points, 95% interval {interval(readable)}.{unclear}"
    )


def _count(value: float) -> str:
    """Whole unless a prompt was answered several times."""
    return number(value, digits=0 if abs(value - round(value)) < 1e-6 else 1)


def banner(facts: RunFacts, run_dir: Path) -> Banner | None:
    """What to say above all else of a run that is not finished."""
    if facts.status == "finished":
        return None
    command = facts.resume_hint(run_dir)
    how = "with:" if command else "by running its command again with --resume and the same --run-dir."
    if facts.status in _VERB:
        title, reason = f"This run {_VERB[facts.status]}", facts.failure or "It left no reason."
        return Banner(kind="bad", title=title, reason=reason, advice=f"Resume {how}", command=command)
    if facts.status == "running":
        title = "This run had not ended when the report was made"
    else:
        title = "It is unknown whether this run came to its end"
    advice = f"If its process is gone, resume {how}"
    return Banner(kind="going", title=title, reason=facts.failure, advice=advice, command=command)


_DATA_FILES = re.compile(r"\+{0,2}data\.(?:train|val)_files=")
_VERB = {"interrupted": "was interrupted", "failed": "failed"}
