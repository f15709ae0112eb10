"""Measures the scheduler in the simulator: beside verl's modes, its priority terms, its controller, and at scale.

python benchmarks/systems/scheduler.py --parts cells,terms,controller,scale --seeds 5 --processes 2

Prints a table for each part and the bounds that its figures are held to, and writes all of it as JSON with commit,
versions, seeds and machine, with figures beside it. ``readme.py`` puts the newest of it into the README.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rewards_parts.provenance import provenance
from rewards_parts.tables import printed
from scheduler_parts import PARTS, Scale, full_scale, quick_scale
from scheduler_parts.figures import drawn
from scheduler_parts.writing import write

from pangu_verl.errors import PanguError, WrongUse

RESULTS = Path(__file__).with_name("results")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seeds", type=int, default=5, help="runs with the seeds 0, 1, ... of which means are taken")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    parser.add_argument("--output", type=Path, metavar="JSON")
    arguments = parser.parse_args()
    try:
        if arguments.seeds < 2 or arguments.processes < 1:
            raise WrongUse(
                "--seeds takes a number of at least 2, as intervals need two runs, and --processes of at least 1, got "
                f"{arguments.seeds} and {arguments.processes}"
            )
        is_quick, processes = arguments.quick, arguments.processes
        scale = quick_scale(processes) if is_quick else full_scale(arguments.seeds, processes)
        path = arguments.output or RESULTS / f"scheduler_{time.strftime('%Y%m%d-%H%M%S')}.json"
        measure(chosen(arguments.parts), scale, path)
    except PanguError as error:
        print(f"scheduler.py: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def chosen(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise WrongUse(f"--parts: there is no part {', '.join(unknown) or '(none named)'}; take {list(PARTS)}")
    return list(dict.fromkeys(names))


def measure(names: Sequence[str], scale: Scale, path: Path) -> None:
    record: dict[str, Any] = {
        "benchmark": "scheduler",
        **provenance(),
        "seeds": list(scale.seeds),
        "processes": scale.processes,
        "targets": [],
        "parts": {},
    }
    for name in names:
        started = time.monotonic()
        part = import_module(f"scheduler_parts.{name}")
        figures = part.measure(scale)
        record["parts"][name] = figures | {"measuring_seconds": round(time.monotonic() - started, 1)}
        record["targets"] += [target.to_json() | {"part": name} for target in part.targets(figures)]
        print(f"\n{name}\n{printed(part.table(figures))}", flush=True)
        write(record, path)
    drawn(record, path)
    rows = [[each[key] for key in ("name", "asked", "measured", "met", "is_possible")] for each in record["targets"]]
    print(f"\n{printed([['bound', 'asked', 'measured', 'met', 'possible'], *rows])}\n\nscheduler -> {path}")


if __name__ == "__main__":
    sys.exit(main())
