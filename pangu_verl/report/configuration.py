"""``config.yaml`` of a run, key by key, and where several of them do not agree.

Invariants: values are text as the file has it, so that nothing in it is resolved, imported or converted; places in the
run's own folder are written ``<run folder>``, since they differ between any two runs and mean the same. A file that
cannot be read is ``None``, which agrees with everything and is never taken for an empty one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml  # type: ignore[import-untyped]  # PyYAML ships no types

NOT_SET = "not set"
RUN_FOLDER = "<run folder>"
# verl's whole configuration has some 1,100 values; anything far above is no configuration of a run
_MOST_VALUES = 20_000
_CHECKPOINTS = "trainer.default_local_dir"
Settings = Mapping[str, str]


def read_settings(run_dir: Path, notes: list[str]) -> Settings | None:
    """Flatten ``config.yaml``: dotted keys to values. What is amiss is added to ``notes``."""
    path = run_dir / "config.yaml"
    if not path.is_file():
        notes.append("config.yaml is missing: how the run was configured is unknown.")
        return None
    try:
        # not libyaml: its loader overflows the stack where this one raises, and brings the process down
        found = yaml.load(path.read_bytes().decode("utf-8", "replace"), Loader=yaml.BaseLoader)
        values = dict(_flatten(found))
    except (yaml.YAMLError, RecursionError, ValueError):
        values = {}
    if not values:
        notes.append("config.yaml cannot be read as a configuration: how the run was configured is unknown.")
        return None
    roots = [str(run_dir.resolve()), *_folder_when_it_ran(values)]
    return {key: _write(value, roots) for key, value in values.items()}


def differences(found: Sequence[Settings | None]) -> dict[str, tuple[str | None, ...]]:
    """The keys on which those that are known do not agree, each with one value per mapping."""
    known = [settings for settings in found if settings is not None]
    keys = dict.fromkeys(key for settings in known for key in settings)
    return {
        key: tuple(None if settings is None else settings.get(key, NOT_SET) for settings in found)
        for key in keys
        if len({settings.get(key) for settings in known}) > 1
    }


def _flatten(found: object) -> Iterator[tuple[str, str | list[str]]]:
    """The leaves of a nested mapping. Aliases may make it endless, so it is walked without recursion and counted."""
    if not isinstance(found, dict):
        raise ValueError("no mapping")
    waiting: list[tuple[str, Any]] = list(found.items())[::-1]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        key, value = waiting.pop()
        if isinstance(value, dict) and value:
            waiting += [(f"{key}.{name}", inner) for name, inner in value.items()][::-1]
        elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            waiting += [(f"{key}.{index}", inner) for index, inner in enumerate(value)][::-1]
        else:
            yield str(key), "{}" if isinstance(value, dict) else value
    raise ValueError("too many values")


def _folder_when_it_ran(values: Mapping[str, str | list[str]]) -> Iterator[str]:
    """The run's folder as it was called then, in case that it was moved since."""
    checkpoints = values.get(_CHECKPOINTS)
    if isinstance(checkpoints, str) and PurePosixPath(checkpoints).name == "checkpoints":
        yield str(PurePosixPath(checkpoints).parent)


def _write(value: str | list[str], roots: Sequence[str]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_write(item, roots) for item in value)}]"
    for root in roots:
        if value == root or value.startswith(root.rstrip("/") + "/"):
            return RUN_FOLDER + value[len(root.rstrip("/")) :]
    return value or '""'
