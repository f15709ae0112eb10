"""Who did what when in a run: ``timeline.jsonl`` in its folder, a JSON object a line, appended as it happens.

Times are seconds since the epoch. Invariants: a line is written whole and flushed before anything else, so a killed
run leaves at most a last line that is cut off; a reader passes it over, and a resumed run takes it away and appends.
Each start or resumption begins with a ``Run``. What happened between a kill and its resumption is not known, and what
ran when the run was killed was never written. Shares of time are in ``idle``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

import msgspec

TIMELINE_NAME = "timeline.jsonl"
# more than any line that a writer makes
_LONGEST_LINE_BYTES = 1 << 20

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e11)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
PositiveCount = Annotated[int, msgspec.Meta(ge=1, lt=2**53)]


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False, tag_field="kind"):
    pass


class Run(_Line, tag="run", frozen=True):
    """A start or a resumption."""

    at_s: Seconds
    mode: str
    policy: str
    bound_versions: Count
    slots_per_replica: PositiveCount


class _Span(_Line, frozen=True):
    began_s: Seconds
    ended_s: Seconds

    def __post_init__(self) -> None:
        if self.ended_s < self.began_s:
            raise ValueError(f"it ended {self.began_s - self.ended_s:g} s before it began")


class Attempt(_Span, tag="attempt", frozen=True):
    """One request at a server. ``version`` made its tokens; None where it made none."""

    replica: str
    version: Count | None
    tokens: Count


class Step(_Span, tag="step", frozen=True):
    """The trainer waits for a batch from ``waited_from_s``, and computes on it from ``began_s`` to ``ended_s``.

    ``step`` counts from 1; ``version`` is the one that the batch was trained at.
    """

    step: PositiveCount
    version: Count
    waited_from_s: Seconds

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.began_s < self.waited_from_s:
            raise ValueError(f"it began {self.waited_from_s - self.began_s:g} s before it was waited for")


class Publication(_Span, tag="publication", frozen=True):
    """The weights of ``version`` on their way to the servers."""

    version: Count


class TimelineWriter:
    """Appends to ``path``. Close it, or use it as a context manager.

    Times that run backwards, as a clock that is set back gives them, are written as no time at all: they are no reason
    to lose the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        os.truncate(path, _end_of_whole_lines(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def run(self, *, at_s: float, mode: str, policy: str, bound_versions: int, slots_per_replica: int) -> None:
        """Once for each start or resumption, before anything else."""
        self._write(
            Run(
                at_s=_rounded(at_s),
                mode=mode,
                policy=policy,
                bound_versions=bound_versions,
                slots_per_replica=slots_per_replica,
            )
        )

    def attempt(self, replica: str, version: int | None, tokens: int, began_s: float, ended_s: float) -> None:
        """When it has ended."""
        began, ended = _forwards(began_s, ended_s)
        self._write(Attempt(replica=replica, version=version, tokens=tokens, began_s=began, ended_s=ended))

    def step(self, step: int, version: int, *, waited_from_s: float, began_s: float, ended_s: float) -> None:
        waited, began, ended = _forwards(waited_from_s, began_s, ended_s)
        self._write(Step(step=step, version=version, waited_from_s=waited, began_s=began, ended_s=ended))

    def publication(self, version: int, began_s: float, ended_s: float) -> None:
        began, ended = _forwards(began_s, ended_s)
        self._write(Publication(version=version, began_s=began, ended_s=ended))

    def _write(self, line: _Line) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()


def _end_of_whole_lines(path: Path) -> int:
    """Bytes up to the end of the last line that was written whole."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(size - _LONGEST_LINE_BYTES, 0))
        return start + file.read().rfind(b"\n") + 1


def _rounded(at_s: float) -> float:
    """To microseconds; half the length of a line would be noise."""
    return round(float(at_s), 6)


def _forwards(*times_s: float) -> Iterator[float]:
    """Rounded, each at least as late as the one before."""
    latest = times_s[0]
    for at_s in times_s:
        latest = max(latest, at_s)
        yield _rounded(latest)
