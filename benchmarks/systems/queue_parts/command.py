"""The benchmark as a command: which parts, on which disk, and where the figures go."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
from rewards_parts.provenance import provenance
from rewards_parts.tables import printed

from pangu_verl.errors import PanguError, WrongUse

from . import BATCH, PARTS, QUICK, SEED, Scale, full_scale
from .figure import drawn
from .targets import compared

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="queue.py", description="Measures the queue's ledger beside its peers.")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--repeats", type=int, default=7, help="timed passes, of which medians are taken")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to be measured")
    parser.add_argument("--quick", action="store_true", help="a few entries, to see that it runs")
    parser.add_argument("--output", type=Path, metavar="JSON", help="a figure is written beside it, as .svg")
    arguments = parser.parse_args()
    try:
        if arguments.repeats < 1:
            raise WrongUse(f"--repeats takes a number of at least 1, got {arguments.repeats}")
        scale = QUICK if arguments.quick else full_scale(arguments.repeats)
        path = arguments.output or RESULTS / f"queue_{time.strftime('%Y%m%d-%H%M%S')}.json"
        measure(chosen(arguments.parts), scale, arguments.folder, path)
    except PanguError as error:
        print(f"queue.py: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def chosen(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise WrongUse(f"--parts: there is no part {', '.join(unknown) or '(none named)'}; take {list(PARTS)}")
    return list(dict.fromkeys(names))


def measure(names: Sequence[str], scale: Scale, folder: Path, path: Path) -> None:
    if not folder.is_dir():
        raise WrongUse(f"--folder {folder} is not there; name a folder on the disk to be measured")
    record: dict[str, Any] = {
        "benchmark": "queue",
        **provenance(),
        "sqlite": sqlite3.sqlite_version,
        "file_system": file_system(folder),
        "seed": SEED,
        "batch": BATCH,
        "scale": {name: getattr(scale, name) for name in Scale.__slots__},
        "parts": {},
    }
    for name in names:
        started = time.monotonic()
        part = import_module(f"queue_parts.{name}")
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            figures = part.measure(scale, Path(scratch))
        record["parts"][name] = figures | {"measuring_seconds": round(time.monotonic() - started, 1)}
        print(f"\n{name}\n{printed(part.table(figures))}", flush=True)
        record["targets"] = compared(record["parts"])
        write(record, path)
    drawn(record, path.with_suffix(".svg"))
    rows = [[each["name"], each["bound"], each["measured"], each["met"]] for each in record["targets"]]
    print(f"\n{printed([['bound', 'asked', 'measured', 'met'], *rows])}\n\nqueue -> {path}")


def file_system(folder: Path) -> str:
    mounts = [mount for mount in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"


def write(record: dict[str, Any], path: Path) -> None:
    """After each part, so that a run that is broken off keeps what it has."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n")
    except OSError as error:
        raise WrongUse(f"--output {path} cannot be written ({error.strerror}); name another file") from error
