"""The table of a page that sets runs side by side: one column a run, one row a fact.

Invariants: what is not known is written "unknown" and counts as neither equal nor different. Facts that were chosen
before the run, or say how far it came, are marked where they differ; outcomes are not, since they always do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pangu_verl.report.columns import Column
from pangu_verl.report.configuration import RUN_FOLDER, differences
from pangu_verl.report.facts import RunFacts
from pangu_verl.report.timing import median_parts_s, median_step_s
from pangu_verl.report.wording import (
    UNKNOWN,
    accuracy_digits,
    change,
    duration,
    interval,
    number,
    percent,
    points,
    share,
)

_LONGEST = 160
_MOST_SETTINGS = 200
_MOST_SOURCES = 12
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One fact of one run; ``is_other`` if it is known not to be that of the first run."""

    text: str
    more: str = ""
    is_other: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One fact of all runs. ``differs`` if two that are known do not agree."""

    name: str
    cells: tuple[Cell, ...]
    differs: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Rows under one heading, and a remark on them."""

    title: str
    rows: tuple[Row, ...]
    remark: str = ""


def sections(columns: Sequence[Column]) -> list[Section]:
    """What the runs have, in the order of the page; rewards only if any run left a trail of them."""
    found = [
        Section(title="Run", rows=tuple(_run(columns))),
        Section(title="Outcome", rows=tuple(_outcome(columns))),
        Section(title="Rewards by source", rows=tuple(_rewards(columns))),
        Section(title="Time and memory", rows=tuple(_costs(columns))),
    ]
    return [section for section in found if section.rows]


def configuration(columns: Sequence[Column]) -> Section:
    """The keys of config.yaml on which runs do not agree, as far as it could be read."""
    found = [column.settings for column in columns]
    if sum(settings is not None for settings in found) < 2:
        remark = "Fewer than two of the runs have a config.yaml that can be read."
        return Section(title="Differences in config.yaml: unknown", rows=(), remark=remark)
    differing = differences(found)
    return Section(
        title=f"Differences in config.yaml: {number(len(differing)) if differing else 'none'}",
        rows=tuple(_marked(key, values) for key, values in list(differing.items())[:_MOST_SETTINGS]),
        remark=" ".join(_remarks(differing)),
    )


def prompts_differ(columns: Sequence[Column]) -> bool:
    """Whether two of the runs, as far as they were validated, answered other prompts."""
    sides = [column.comparison.before or column.comparison.after for column in columns]
    return len({frozenset(row.prompt for row in side.rows) for side in sides if side}) > 1


def _run(columns: Sequence[Column]) -> Iterator[Row]:
    facts = [column.folder.facts for column in columns]
    yield _marked("status", [found.status for found in facts])
    yield _marked("model", [found.model for found in facts])
    yield _marked("seed", [found.seed for found in facts])
    yield _marked("training steps", [_count(len(column.folder.training_steps)) for column in columns])
    yield _marked("validation rows", [_count(column.comparison.rows) for column in columns])
    yield _marked("commit", [found.commit for found in facts], show=_short_commit)
    yield from _versions(facts)
    yield _marked("machine", [_machine(found) for found in facts])


def _versions(facts: Sequence[RunFacts]) -> Iterator[Row]:
    """The packages whose versions differ; if none does, that."""
    found = [run.versions or None for run in facts]
    rows = [_marked(f"version of {package}", values) for package, values in differences(found).items()]
    yield from rows or [_written("versions that differ", [f"none of {len(run)}" if run else UNKNOWN for run in found])]


def _outcome(columns: Sequence[Column]) -> Iterator[Row]:
    found = [column.comparison for column in columns]
    gains = [comparison.gain for comparison in found]
    digits = max((accuracy_digits(gain) for gain in gains if gain), default=2)
    yield _written("accuracy before", [share(comparison.accuracy_before, digits) for comparison in found])
    yield _written("accuracy after", [share(comparison.accuracy_after, digits) for comparison in found])
    yield _written(
        "gain",
        [f"{points(gain)} points" if gain else UNKNOWN for gain in gains],
        [f"95% interval {interval(gain)}{', includes 0' * gain.includes_zero}" if gain else "" for gain in gains],
    )
    sides = [(comparison.before, comparison.after) for comparison in found]
    shares = [[percent(side.format_failures if side else None) for side in pair] for pair in sides]
    yield _written("format failures", [change(*pair) for pair in shares])


def _rewards(columns: Sequence[Column]) -> Iterator[Row]:
    """What each source passed and could not judge, over all domains; those with most rows, by alphabet."""
    found = [column.rewards.tallies.by_source() if column.rewards else {} for column in columns]
    rows: Counter[str] = Counter()
    for tallies in found:
        rows.update({name: tally.rows for name, tally in tallies.items()})
    for name in sorted(source for source, _ in rows.most_common(_MOST_SOURCES)):
        of_runs = [tallies.get(name) for tallies in found]
        yield _written(
            _cut(name),
            [f"{percent(tally.passed.value)} passed" if tally and tally.passed.count else UNKNOWN for tally in of_runs],
            [f"{percent(tally.unjudged_share)} of {number(tally.rows)} unjudged" if tally else "" for tally in of_runs],
        )


def _costs(columns: Sequence[Column]) -> Iterator[Row]:
    facts = [column.folder.facts for column in columns]
    yield _written("training", [duration(found.train_seconds) for found in facts])
    yield _written("in total", [duration(found.total_seconds) for found in facts])
    yield _written("median step", [_seconds(median_step_s(column.folder)) for column in columns])
    parts = [median_parts_s(column.folder) for column in columns]
    for name in parts[0] if parts else ():
        yield _written(f"median {name}", [_seconds(run[name]) for run in parts])
    yield _written("peak memory", [number(found.peak_pss_gib, "GiB", 1) for found in facts])


def _remarks(differing: Mapping[str, Sequence[str | None]]) -> Iterator[str]:
    if len(differing) > _MOST_SETTINGS:
        yield f"{number(len(differing) - _MOST_SETTINGS)} more keys differ."
    if any(value and RUN_FOLDER in value for values in differing.values() for value in values):
        yield f"{RUN_FOLDER} stands for the folder of each run."


def _marked(name: str, values: Sequence[str | None], show: Callable[[str], str] = str) -> Row:
    """A row whose differences matter. Values are compared whole, however much of them is shown."""
    known = {value for value in values if value is not None}
    cells = (
        Cell(
            text=UNKNOWN if value is None else _cut(show(value)),
            is_other=None not in (value, values[0]) and value != values[0],
        )
        for value in values
    )
    return Row(name=_cut(name), cells=tuple(cells), differs=len(known) > 1)


def _written(name: str, texts: Sequence[str], more: Sequence[str] | None = None) -> Row:
    more = more or [""] * len(texts)
    return Row(name=name, cells=tuple(Cell(text=text, more=under) for text, under in zip(texts, more, strict=True)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({number(len(text))} characters)"


def _count(count: int) -> str | None:
    """A count of what was found; finding none says nothing of how many there are."""
    return number(count) if count else None


def _seconds(value: float | None) -> str:
    """Tenths, and hundredths where tenths would hide the value."""
    return number(value, "s", 1 if value is None or value >= 1 else 2)


def _short_commit(commit: str) -> str:
    return commit[:9] if _COMMIT.fullmatch(commit) else commit


def _machine(facts: RunFacts) -> str | None:
    known = (facts.processor, facts.cores, facts.memory_gib)
    if known == (None, None, None):
        return None
    return (
        f"{facts.processor or 'processor unknown'}, {number(facts.cores)} cores, {number(facts.memory_gib, 'GiB', 1)}"
    )
