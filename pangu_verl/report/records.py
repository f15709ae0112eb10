"""Lines of JSON as a killed process left them, and values of unknown type made safe.

Invariant: a line that is not a JSON object is counted and skipped, wherever it stands, because a process killed in
the middle of a line may have been resumed in the same file. Nothing here raises on content, only on a missing file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class JsonLine(NamedTuple):
    """One line that is not blank, numbered from 1. ``found`` is ``None`` where it holds no JSON object.

    ``is_cut`` if the file ends before the line does.
    """

    number: int
    found: Mapping[str, Any] | None
    is_cut: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonLines:
    """The objects of one file. ``skipped`` are the numbers of the lines that could not be read, from 1."""

    objects: tuple[Mapping[str, Any], ...]
    skipped: tuple[int, ...]


def read_object(text: str) -> Mapping[str, Any] | None:
    """The JSON object in ``text``, or ``None`` where there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def stream_json_lines(path: Path) -> Iterator[JsonLine]:
    """Split at line feeds alone: model output may hold the other characters that Python takes for a line's end."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            text = line.decode("utf-8", "replace").strip(" \t\r\n")
            if text:
                yield JsonLine(number, read_object(text), not line.endswith(b"\n"))


def read_json_lines(path: Path) -> JsonLines:
    """All lines at once, for files that fit into memory."""
    objects: list[Mapping[str, Any]] = []
    skipped: list[int] = []
    for line in stream_json_lines(path):
        if line.found is None:
            skipped.append(line.number)
        else:
            objects.append(line.found)
    return JsonLines(objects=tuple(objects), skipped=tuple(skipped))


def as_number(value: object) -> float | None:
    """A number that can be a measurement (finite, below 1e30), or ``None``. True and False are not numbers here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) < 1e30 else None


def as_flag(value: object) -> bool | None:
    """True, False, 1 or 0; anything else is ``None``."""
    if isinstance(value, bool):
        return value
    return {0.0: False, 1.0: True}.get(value) if isinstance(value, int | float) else None


def as_text(value: object) -> str | None:
    """Text as it stands, other JSON written out, ``None`` for null and for blank text."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text.strip() else None
