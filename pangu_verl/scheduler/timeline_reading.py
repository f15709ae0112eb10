"""``timeline.jsonl`` read back, attempts as columns, so that millions of them fit.

Invariants: a last line that is cut off is passed over; anything else that no ``TimelineWriter`` writes is refused with
its file and line. Nothing is mended and nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pangu_verl.errors import WrongUse, first_line
from pangu_verl.scheduler.timeline import Attempt, Publication, Run, Step

_BLOCK_BYTES = 1 << 22
_Record = Run | Attempt | Step | Publication
_DECODER = msgspec.json.Decoder(_Record)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempts:
    """One element an attempt, in the order of their ends. ``replica`` is a place in ``replicas``.

    ``version`` is -1 where an attempt made nothing; times in seconds since the epoch.
    """

    replicas: tuple[str, ...]
    replica: NDArray[np.int64]
    version: NDArray[np.int64]
    tokens: NDArray[np.int64]
    began_s: NDArray[np.float64]
    ended_s: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """From a start or resumption to the end of the last thing that was written down of it."""

    run: Run
    ended_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """What a run wrote, in its order."""

    sessions: tuple[Session, ...]
    attempts: Attempts
    steps: tuple[Step, ...]
    publications: tuple[Publication, ...]


def read_timeline(path: Path) -> Timeline:
    """``WrongUse`` for a file that cannot be read or is damaged."""
    attempts = _Columns()
    ends_s: list[float] = []
    runs: list[Run] = []
    steps: list[Step] = []
    publications: list[Publication] = []
    for records in _blocks(path):
        made: list[Attempt] = []
        for record in records:
            if isinstance(record, Run):
                runs.append(record)
                ends_s.append(record.at_s)
                continue
            if not runs:
                raise WrongUse(f"{path}, line 1: expected a line of kind 'run', got another; the file is damaged")
            ends_s[-1] = max(ends_s[-1], record.ended_s)
            if isinstance(record, Attempt):
                made.append(record)
            elif isinstance(record, Step):
                steps.append(record)
            else:
                publications.append(record)
        attempts.add(made)
    return Timeline(
        sessions=tuple(Session(run=run, ended_s=end_s) for run, end_s in zip(runs, ends_s, strict=True)),
        attempts=attempts.joined(),
        steps=tuple(steps),
        publications=tuple(publications),
    )


class _Columns:
    """Attempts, block by block."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._whole: list[list[NDArray[np.int64]]] = []
        self._times: list[list[NDArray[np.float64]]] = []
        self.add(())

    def add(self, attempts: Sequence[Attempt]) -> None:
        places, size = self._places, len(attempts)
        columns = (
            (places.setdefault(attempt.replica, len(places)) for attempt in attempts),
            (-1 if attempt.version is None else attempt.version for attempt in attempts),
            (attempt.tokens for attempt in attempts),
        )
        times = ((attempt.began_s for attempt in attempts), (attempt.ended_s for attempt in attempts))
        self._whole.append([np.fromiter(column, np.int64, size) for column in columns])
        self._times.append([np.fromiter(column, np.float64, size) for column in times])

    def joined(self) -> Attempts:
        replica, version, tokens = (np.concatenate(parts) for parts in zip(*self._whole, strict=True))
        began_s, ended_s = (np.concatenate(parts) for parts in zip(*self._times, strict=True))
        return Attempts(
            replicas=tuple(self._places),
            replica=replica,
            version=version,
            tokens=tokens,
            began_s=began_s,
            ended_s=ended_s,
        )


def _blocks(path: Path) -> Iterator[list[_Record]]:
    """The whole lines of a file, many at a time."""
    lines_before, rest = 0, b""
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                whole, feed, rest = (rest + block).rpartition(b"\n")
                if feed:
                    yield _decoded(path, whole, lines_before)
                    lines_before += whole.count(b"\n") + 1
    except OSError as error:
        raise WrongUse(f"{path} cannot be read ({first_line(error)}); give the timeline.jsonl of a run") from error


def _decoded(path: Path, lines: bytes, lines_before: int) -> list[_Record]:
    try:
        return _DECODER.decode_lines(lines)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise WrongUse(_first_fault(path, lines, lines_before)) from None


def _first_fault(path: Path, lines: bytes, lines_before: int) -> str:
    """Which line cannot be read, and why."""
    for number, line in enumerate(lines.split(b"\n"), start=lines_before + 1):
        try:
            _DECODER.decode_lines(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            shown = line[:60].decode(errors="replace")
            reason = first_line(error)
            return (
                f"{path}, line {number}: expected a line of a timeline, got {shown!r} ({reason}); the file is damaged, "
                "without that line the rest can be read"
            )
    return f"{path}: expected the lines of a timeline, got none that can be read; the file is damaged"
