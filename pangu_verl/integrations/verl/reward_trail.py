"""What a run leaves on disk of its rewards, so that it can be audited: every verdict, every change, measured rates.

Invariant: one process writes (the actor of ``shared_state.py``), a line per row, each whole before the next; a resumed
run goes on in the same files, from where they stood at its checkpoint, so no row stands in them twice. A disk that
takes no more ends the trail with a warning, not the run. Texts of rows are not kept here.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pangu_verl.errors import first_line
from pangu_verl.mars.reliability import Change, Rate
from pangu_verl.mars.state import JudgedRow

VERDICTS, CHANGES, RELIABILITY = "verdicts.jsonl", "changes.jsonl", "reliability.json"

logger = logging.getLogger(__name__)


class RewardTrail:
    """The files below ``folder``; none where it is None."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def sizes(self) -> dict[str, int]:
        """How long each file is now, in bytes; goes into a checkpoint."""
        if self._folder is None:
            return {}
        paths = {name: self._folder / name for name in (VERDICTS, CHANGES)}
        return {name: path.stat().st_size for name, path in paths.items() if path.is_file()}

    def cut_back(self, sizes: object) -> None:
        """Forget what was written since ``sizes`` were taken; nothing where there are none."""
        found = sizes if isinstance(sizes, Mapping) and sizes else None
        for name in (VERDICTS, CHANGES):
            size = None if found is None else found.get(name, 0)
            if isinstance(size, int) and size >= 0:
                self._write(lambda folder, name=name, size=size: _cut(folder / name, size))

    def note(self, row: JudgedRow) -> None:
        """Add a row."""
        verdict = row.verdict
        line = {
            "id": row.id,
            "domain": row.domain,
            "source": verdict.source,
            "score": verdict.score,
            "passed": verdict.passed,
            "reason": verdict.reason,
            "seconds": verdict.seconds,
            "opinions": [asdict(opinion) for opinion in row.opinions],
            "breakdown": verdict.details.get("breakdown", {}),
        }
        self._append(VERDICTS, line)

    def note_changes(self, changes: Iterable[Change]) -> None:
        """Add what is believed from now on, here and in the log."""
        for change in changes:
            told = f"{change.before} -> {change.after}: {change.reason}"
            logger.warning("reward source %r, domain %r: %s", change.source, change.domain, told)
            self._append(CHANGES, asdict(change))

    def keep_rates(self, rates: Iterable[Rate]) -> None:
        """Replace the measured rates."""
        found = [asdict(rate) for rate in rates]
        if not found:
            return
        self._write(lambda folder: _replace(folder / RELIABILITY, json.dumps({"rates": found}, indent=2)))

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        text = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **line}, default=str)
        self._write(lambda folder: _append(folder / name, text))

    def _write(self, write: Any) -> None:
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write(self._folder)
        except OSError as error:
            logger.warning("the record of rewards in %s ends here: %s", self._folder, first_line(error))
            self._folder = None


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        if file.tell() and not _ends_with_newline(path):
            file.write("\n")  # a line cut off by a killed run stays alone
        file.write(text + "\n")


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _cut(path: Path, size: int) -> None:
    if path.is_file() and path.stat().st_size > size:
        os.truncate(path, size)


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
