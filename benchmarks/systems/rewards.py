"""Measures MARS beside Math-Verify, verl's own scorers and in-process grading: agreement, speed, cost and gullibility.

python benchmarks/systems/rewards.py DATA_FOLDER --parts maths,code --repeats 5

The folder holds ``verify/``, ``code/`` and ``general/``; which files a part reads is in ``rewards_parts``. Nothing of
them is kept. Prints a table for each part and the bounds that its figures are held to, and writes all of it as JSON
with commit, versions, seed and machine. Graders take turns within one run, so that they meet the same machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rewards_parts import DEFAULT_PARTS, FILES_BY_PART, SEED
from rewards_parts.provenance import provenance
from rewards_parts.tables import printed
from rewards_parts.targets import compared

from pangu_verl.errors import PanguError, WrongUse

RESULTS = Path(__file__).with_name("results")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA_FOLDER")
    parser.add_argument("--parts", default=",".join(DEFAULT_PARTS), help=f"of {', '.join(FILES_BY_PART)}")
    parser.add_argument("--repeats", type=int, default=5, help="timed passes, of which medians are taken")
    parser.add_argument("--output", type=Path, metavar="JSON")
    arguments = parser.parse_args()
    try:
        parts = chosen(arguments.parts)
        if arguments.repeats < 1:
            raise WrongUse(f"--repeats takes a number of at least 1, got {arguments.repeats}")
        check_files(arguments.data, parts)
        measure(parts, arguments.data, arguments.repeats, arguments.output)
    except PanguError as error:
        print(f"rewards.py: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def chosen(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in FILES_BY_PART]
    if unknown or not names:
        raise WrongUse(f"--parts: there is no part {', '.join(unknown) or '(none named)'}; take {list(FILES_BY_PART)}")
    return list(dict.fromkeys(names))


def check_files(data: Path | None, parts: Sequence[str]) -> None:
    needed = [file for part in parts for file in FILES_BY_PART[part]]
    if needed and data is None:
        raise WrongUse(f"these parts read {needed[0]} and others; name the folder that holds them")
    for file in needed:
        if data is not None and not (data / file).is_file():
            raise WrongUse(f"{data / file} is not there; name the folder that holds {file}, or leave its part out")


def measure(parts: Sequence[str], data: Path | None, repeats: int, output: Path | None) -> None:
    path = output or RESULTS / f"rewards_{time.strftime('%Y%m%d-%H%M%S')}.json"
    record: dict[str, Any] = {"benchmark": "rewards", **provenance(), "seed": SEED, "repeats": repeats, "parts": {}}
    for name in parts:
        started = time.monotonic()
        part = import_module(f"rewards_parts.{name}")
        figures = part.measure(data, repeats)
        record["parts"][name] = figures | {"measuring_seconds": round(time.monotonic() - started, 1)}
        print(f"\n{name}\n{printed(part.table(figures))}", flush=True)
        record["targets"] = compared(record["parts"])
        write(record, path)
    rows = [[each["name"], each["bound"], each["measured"], each["met"]] for each in record["targets"]]
    print(f"\n{printed([['bound', 'asked', 'measured', 'met'], *rows])}\n\nrewards -> {path}")


def write(record: dict[str, Any], path: Path) -> None:
    """After each part, so that a run that is broken off keeps what it has."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n")
    except OSError as error:
        raise WrongUse(f"--output {path} cannot be written ({error.strerror}); name another file") from error


if __name__ == "__main__":
    sys.exit(main())
