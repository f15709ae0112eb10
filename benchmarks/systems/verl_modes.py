"""Measures verl's trainer modes and ours beside each other, with paced compute, at 8 and 32 replicas.

python benchmarks/systems/verl_modes.py --repeats 3 --runs runs/verl_modes --resume

Prints a line for each run and a table at the end, and writes all of it as JSON with commit, versions, seeds and
machine, with a figure beside it. ``readme.py`` puts the newest of it into the README. With ``--resume`` finished runs
are taken from the folder. Wants a machine that does nothing else: two and a half hours on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pangu_verl_paced.pacing import NOTICE
from pangu_verl_paced.processors import MOST_SHARE
from rewards_parts.provenance import provenance
from rewards_parts.tables import printed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from scheduler_parts.writing import write
from verl_modes_parts import (
    BOUND_VERSIONS,
    MEAN_TOKENS,
    QUICK,
    TRACE,
    TRAIN_TO_ROLLOUT_RATIO,
    TRAJECTORIES,
    Scale,
    full_scale,
)
from verl_modes_parts.comparing import compared, rows_of
from verl_modes_parts.drawing import drawn
from verl_modes_parts.matrix import Matrix, run_all
from verl_modes_parts.running import Cell, Inputs, finished, run
from verl_modes_parts.scenarios import recorded_rates

from pangu_verl.errors import PanguError, RunFailed, WrongUse

RESULTS = Path(__file__).with_name("results")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="with the seeds 0, 1, ..., of which medians are taken")
    parser.add_argument("--runs", type=Path, default=Path("runs/verl_modes"), help="folder of the single runs")
    parser.add_argument("--resume", action="store_true", help="take finished runs from that folder")
    parser.add_argument("--modes", default="", help="only modes whose names begin so, separated by commas")
    parser.add_argument("--quick", action="store_true", help="a few steps at 8 replicas, to see that it runs")
    parser.add_argument("--output", type=Path, metavar="JSON")
    arguments = parser.parse_args()
    try:
        if arguments.repeats < 1:
            raise WrongUse(f"--repeats takes a number of at least 1, got {arguments.repeats}")
        if arguments.runs.exists() and not arguments.resume:
            raise WrongUse(f"--runs {arguments.runs} is there already; go on with --resume, or name another folder")
        scale = QUICK if arguments.quick else full_scale(arguments.repeats)
        chosen = [name.strip() for name in arguments.modes.split(",") if name.strip()]
        path = arguments.output or RESULTS / f"verl_modes_{time.strftime('%Y%m%d-%H%M%S')}.json"
        measure(Matrix(scale, chosen), arguments.runs, path)
    except PanguError as error:
        print(f"verl_modes.py: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def measure(matrix: Matrix, folder: Path, path: Path) -> None:
    print(NOTICE)
    inputs = Inputs(folder)
    record = described(matrix.scale)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    def run_once(cell: Cell) -> dict[str, Any]:
        progress.update(task, description=cell.name)
        try:
            return finished(cell, matrix.scale, folder) or run(cell, matrix.scale, inputs, folder)
        except RunFailed as error:
            told = {"size": cell.size.name, "side": cell.mode.side, "mode": cell.mode.name, "family": cell.mode.family}
            return {"told": told | {"poll_s": cell.mode.poll_s, "seed": cell.seed}, "error": str(error)}

    def tell(cell: Cell, result: dict[str, Any]) -> None:
        progress.advance(task)
        console.print(outcome(cell, result), highlight=False)
        rows = rows_of(matrix.results)
        record.update(rows=rows, targets=[target.to_json() for target in compared(rows)], runs=matrix.results)
        write(record, path)

    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=None if matrix.chosen else matrix.num_cells())
        run_all(matrix, run_once, tell)
    if not matrix.results:
        raise WrongUse(f"--modes: no mode's name begins with {' or '.join(matrix.chosen)}")
    drawn(record["rows"], path.with_suffix(".svg"))
    targets = [[each[key] for key in ("name", "asked", "measured", "met")] for each in record["targets"]]
    print(
        f"{table(record['rows'])}\n\n{printed([['bound', 'asked', 'measured', 'met'], *targets])}\n\n{NOTICE} -> {path}"
    )


def described(scale: Scale) -> dict[str, Any]:
    return {
        "benchmark": "verl_modes",
        "notice": NOTICE,
        **provenance(),
        "seeds": list(range(scale.repeats)),
        "settings": asdict(scale)
        | {
            "bound_versions": BOUND_VERSIONS,
            "trajectories": TRAJECTORIES,
            "trace": TRACE,
            "mean_tokens": MEAN_TOKENS,
            "train_to_rollout_ratio": TRAIN_TO_ROLLOUT_RATIO,
            "rates_from": recorded_rates()["from"],
            "most_processor_share": MOST_SHARE,
        },
    }


def outcome(cell: Cell, result: dict[str, Any]) -> str:
    if "error" in result:
        return result["error"]
    error = result["prediction_error"]
    forecast = "" if error is None else f" (simulated {error:+.1%})"
    said = (
        f"{cell.name}: fresh tokens {result['fresh_token_share']:.3f}{forecast}, "
        f"trained length {result['trained_length_ratio']:.3f}, lag {result['max_trained_lag']}, {result['step_s']:.2f} "
        f"s a step, {result['processor_share']:.0%} of the processors"
    )
    return f"{said}: DISCARDED" if result["is_discarded"] else said


def table(rows: list[dict[str, Any]]) -> str:
    names = (
        "fresh_token_share",
        "ceiling_share",
        "trained_length_ratio",
        "max_trained_lag",
        "step_s",
        "prediction_error",
    )
    heading = ["mode", "poll", "runs", *(name.replace("_", " ") for name in names)]
    lines = [
        [f"{row['size']}, {row['mode']}", row["poll_s"], row["runs"], *(row.get(name) for name in names)]
        for row in rows
    ]
    return printed([heading, *lines])


if __name__ == "__main__":
    sys.exit(main())
