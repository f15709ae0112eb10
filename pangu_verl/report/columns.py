"""The runs of a page that sets several side by side: each read once, and called by a name that no other has.

Invariant: every folder that was asked for is a column, in the order asked, whatever state the run is in; only what is
no run folder, or is asked for twice, is refused. What is missing from a run is said in its ``notes``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pangu_verl.errors import WrongUse
from pangu_verl.report.comparison import Comparison, compare
from pangu_verl.report.configuration import Settings, read_settings
from pangu_verl.report.rendering import showable
from pangu_verl.report.rewards import RewardAudit, read_rewards
from pangu_verl.report.run_folder import RunFolder, read_run_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One run. ``settings`` is its configuration by dotted key, ``None`` if that could not be read.

    ``rewards`` is ``None`` if the run left no audit trail of them, or it was not read.
    """

    label: str
    folder: RunFolder
    comparison: Comparison
    settings: Settings | None
    rewards: RewardAudit | None
    notes: tuple[str, ...]


def read_columns(run_dirs: Sequence[Path], *, with_rewards: bool = True) -> list[Column]:
    """Read every run, or raise ``WrongUse`` naming the folder that is none or that is named twice.

    Who has no use for ``rewards`` is spared half a million lines a run.
    """
    resolved: dict[Path, Path] = {}
    for run_dir in run_dirs:
        place = run_dir.resolve()
        if place in resolved:
            raise WrongUse(f"'{run_dir}' is the same folder as '{resolved[place]}'; name each run once")
        resolved[place] = run_dir
    return [
        _read_column(run_dir, label, read_rewards(run_dir) if with_rewards else None)
        for run_dir, label in zip(run_dirs, labels(list(resolved)), strict=True)
    ]


def labels(places: Sequence[Path]) -> list[str]:
    """The names of folders, with as much of the path before them as tells those of one name apart.

    ``places`` are absolute and differ from each other.
    """
    depths = [1] * len(places)
    while True:
        found = [_last_parts(place, depth) for place, depth in zip(places, depths, strict=True)]
        counts = Counter(found)
        unclear = [
            index for index, place in enumerate(places) if counts[found[index]] > 1 and depths[index] < len(place.parts)
        ]
        if not unclear:
            return found
        for index in unclear:
            depths[index] += 1


def _last_parts(place: Path, depth: int) -> str:
    return showable(str(Path(*place.parts[-depth:])))


def _read_column(run_dir: Path, label: str, rewards: RewardAudit | None) -> Column:
    folder = read_run_folder(run_dir)
    comparison = compare(folder)
    notes: list[str] = []
    settings = read_settings(run_dir, notes)
    return Column(
        label=label,
        folder=folder,
        comparison=comparison,
        settings=settings,
        rewards=rewards,
        notes=(
            *folder.notes,
            *comparison.notes,
            *notes,
            *(rewards.notes if rewards else ()),
            *_missing(folder, comparison),
        ),
    )


def _missing(folder: RunFolder, comparison: Comparison) -> Iterator[str]:
    """What the readers of single files pass over in silence, since an unfinished run may well be without."""
    if not folder.training_steps:
        yield "No training step was logged: rewards, lengths and times are unknown."
    if comparison.before is None and comparison.after is None:
        yield "No validation row was found: accuracy is unknown."
    elif comparison.before is None or comparison.after is None:
        yield "There is one validation only: the gain is unknown."
