"""A run folder as it lies on disk: run.json, metrics.jsonl, validation/<step>.jsonl.

A resumed run keeps what its earlier sessions logged in metrics.001.jsonl, metrics.002.jsonl and so on. Invariant: the
folder is only read. Of several records of one step, as a resumed run writes them, the later wins metric by metric: a
resume may log a validation under the step it starts from, and that must not hide the step's training.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangu_verl.errors import WrongUse
from pangu_verl.report.facts import RunFacts, parse_facts
from pangu_verl.report.records import as_number, read_json_lines, read_object
from pangu_verl.report.validation import Validation, read_validation

_VALIDATION_SCORE = re.compile(r"^val-core/(?P<source>.+)/(?:reward|acc)/mean@\d+$")
_EARLIER_METRICS = re.compile(r"^metrics\.(\d{1,9})\.jsonl$", re.ASCII)
_STEP_FILE = re.compile(r"^\d{1,9}\.jsonl$", re.ASCII)
_EXPECTED = "a run folder holds run.json, metrics.jsonl and validation/<step>.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFolder:
    """What was found. ``metrics`` and ``validation_files`` are in the order of steps; ``notes`` say what was amiss."""

    path: Path
    facts: RunFacts
    metrics: Mapping[int, Mapping[str, float]]
    validation_files: Mapping[int, Path]
    notes: tuple[str, ...]

    def series(self, metric: str) -> list[tuple[int, float]]:
        """A metric over steps, steps without it left out."""
        return [(step, data[metric]) for step, data in self.metrics.items() if metric in data]

    def validation_scores(self) -> dict[str, list[tuple[int, float]]]:
        """verl's own validation reward over steps, by data source."""
        found: dict[str, list[tuple[int, float]]] = {}
        for step, data in self.metrics.items():
            for metric, value in data.items():
                if match := _VALIDATION_SCORE.match(metric):
                    found.setdefault(match["source"], []).append((step, value))
        return found

    @property
    def training_steps(self) -> list[int]:
        """Steps that trained, as opposed to a validation before the first."""
        return [step for step, data in self.metrics.items() if any(key.startswith("timing_s/") for key in data)]

    def validations(self) -> Iterator[Validation]:
        """Read one file after the other; those without a readable row are left out."""
        for path in self.validation_files.values():
            validation = read_validation(path)
            if validation.rows:
                yield validation

    def file_names(self) -> list[str]:
        """What lies in the folder, subfolders with a trailing slash; the report itself left out."""
        names = [entry.name + "/" * entry.is_dir() for entry in self.path.iterdir() if not entry.name.startswith(".")]
        return sorted(name for name in names if name != "report.html")


def read_run_folder(run_dir: Path) -> RunFolder:
    """Read a folder, or say by name why it cannot be one."""
    if not run_dir.is_dir():
        came = "is not a folder" if run_dir.exists() else "does not exist"
        raise WrongUse(f"run folder '{run_dir}' {came}; {_EXPECTED}")
    facts_path, metrics_paths = run_dir / "run.json", _find_metrics_files(run_dir)
    if not facts_path.is_file() and not metrics_paths:
        raise WrongUse(f"'{run_dir}' holds neither run.json nor metrics.jsonl; {_EXPECTED}")
    notes: list[str] = []
    return RunFolder(
        path=run_dir,
        facts=parse_facts(_read_facts(facts_path, notes)),
        metrics=_read_metrics(metrics_paths, notes),
        validation_files=_find_validation_files(run_dir / "validation"),
        notes=tuple(notes),
    )


def _read_facts(path: Path, notes: list[str]) -> Mapping[str, Any]:
    if not path.is_file():
        notes.append("run.json is missing: what it would say of the run is shown as unknown.")
        return {}
    found = read_object(path.read_bytes().decode("utf-8", "replace"))
    if found is None:
        notes.append("run.json holds no JSON object: what it would say of the run is shown as unknown.")
        return {}
    return found


def _find_metrics_files(run_dir: Path) -> list[Path]:
    """What the earlier sessions logged, in their order, then what the last one did."""
    matches = [match for path in run_dir.iterdir() if (match := _EARLIER_METRICS.match(path.name))]
    names = [match.string for match in sorted(matches, key=lambda match: int(match[1]))]
    return [path for name in (*names, "metrics.jsonl") if (path := run_dir / name).is_file()]


def _read_metrics(paths: Sequence[Path], notes: list[str]) -> dict[int, dict[str, float]]:
    if not paths:
        notes.append("metrics.jsonl is missing: nothing is known of the training steps.")
    elif paths[-1].name != "metrics.jsonl":
        notes.append("metrics.jsonl is missing: nothing is known of the steps after the last resume.")
    steps: dict[int, dict[str, float]] = {}
    repeated: set[int] = set()
    for path in paths:
        lines = read_json_lines(path)
        for found in lines.objects:
            step, data = as_number(found.get("step")), found.get("data")
            if step is None or not 0 <= step < 1e9 or step != int(step) or not isinstance(data, dict):
                continue
            if int(step) in steps:
                repeated.add(int(step))
            numbers = {key: number for key, value in data.items() if (number := as_number(value)) is not None}
            steps.setdefault(int(step), {}).update(numbers)
        if lines.skipped:
            notes.append(skipped_lines_note(path.name, lines.skipped))
    if repeated:
        names = " and ".join(path.name for path in paths)
        notes.append(f"{names}: {len(repeated)} step(s) more than once (a resumed run); the later values win.")
    return dict(sorted(steps.items()))


def _find_validation_files(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    files = [path for path in folder.iterdir() if _STEP_FILE.match(path.name) and path.is_file()]
    return {int(path.stem): path for path in sorted(files, key=lambda path: int(path.stem))}


def skipped_lines_note(name: str, numbers: tuple[int, ...]) -> str:
    """In one sentence, which lines of a file were not read."""
    shown = ", ".join(str(number) for number in numbers[:5]) + (", …" if len(numbers) > 5 else "")
    return f"{name}: {len(numbers)} unreadable line(s) skipped (line {shown}); a killed process leaves one."
