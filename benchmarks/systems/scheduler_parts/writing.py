"""The record as JSON: an object of plain values stands on one line, so that a figure is a line of the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pangu_verl.errors import WrongUse

_DIGITS = 5


def write(record: Mapping[str, Any], path: Path) -> None:
    """After each part, so that a run that is broken off keeps what it has."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_text(record, "") + "\n")
    except OSError as error:
        raise WrongUse(f"--output {path} cannot be written ({error.strerror}); name another file") from error


def _text(value: Any, indent: str) -> str:
    if not isinstance(value, dict | list) or _depth(value) <= 2:
        return json.dumps(_rounded(value))
    deeper = indent + " "
    if isinstance(value, dict):
        lines = [f"{deeper}{json.dumps(str(key))}: {_text(each, deeper)}" for key, each in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _text(each, deeper) for each in value) + f"\n{indent}]"


def _depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
