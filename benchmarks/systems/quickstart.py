"""Measures the quickstart: gain, time, memory and overhead for some seeds, as one line and one JSON file.

python benchmarks/systems/quickstart.py --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("pangu-verl")
RESULTS = Path(__file__).with_name("results")

#: Parts of a verl step in which the model computes or its weights travel; the rest of a step is overhead.
_WORK = ("timing_s/gen", "timing_s/old_log_prob", "timing_s/update_actor", "timing_s/update_weights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--runs", type=Path, nargs="+", help="folders of finished runs, described instead of new ones")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.runs:
        runs = [describe(folder) for folder in arguments.runs]
    else:
        runs = [measure(arguments.model, seed) for seed in arguments.seeds]
    result = {"benchmark": "quickstart", "model": arguments.model, "imports": import_times(), "runs": runs}
    path = arguments.output or RESULTS / f"quickstart_{arguments.model}_{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    gains = ", ".join(f"{100 * run['summary']['gain']:+.1f}" for run in runs)
    train = statistics.median(run["summary"]["train_seconds"] for run in runs)
    total = statistics.median(run["summary"]["total_seconds"] for run in runs)
    print(f"quickstart {arguments.model}: gain {gains} points, training {train:.0f} s, in all {total:.0f} s -> {path}")


def measure(model: str, seed: int) -> dict[str, Any]:
    """One run of the command in a fresh folder."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        options = ["--model", model, "--seed", str(seed), "--run-dir", str(folder)]
        subprocess.run([str(COMMAND), "quickstart", *options], stdout=subprocess.DEVNULL, check=True)
        return describe(folder)


def describe(folder: Path) -> dict[str, Any]:
    """What a finished run measured."""
    summary = subprocess.run(
        [str(COMMAND), "report", str(folder), "--json"], stdout=subprocess.PIPE, text=True, check=True
    )
    record = json.loads((folder / "run.json").read_text())
    steps = [json.loads(line)["data"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = [step for step in steps if "timing_s/step" in step]
    kept = {key: value for key, value in json.loads(summary.stdout.splitlines()[-1]).items() if key != "report"}
    return {
        "seed": record["seed"],
        "summary": kept | {"run_dir": folder.name},
        "step_seconds": _median(timed, "timing_s/step"),
        "seconds_by_part": {part: _median(timed, part) for part in _WORK},
        "overhead_share": statistics.median(_overhead(step) for step in timed),
        "engine": record.get("engine"),
        **{key: record[key] for key in ("commit", "versions", "machine")},
    }


def import_times() -> dict[str, float]:
    """Median seconds of three imports each, in fresh interpreters."""
    statements = {
        "pangu_verl": "import pangu_verl",
        "verl_without_plugins": "import os; os.environ['VERL_USE_EXTERNAL_PLUGINS'] = 'none'; import verl",
        "verl_with_plugins": "import verl",
    }
    return {name: statistics.median(_seconds(code) for _ in range(3)) for name, code in statements.items()}


def _seconds(code: str) -> float:
    timed = f"import time; t = time.perf_counter()\n{code}\nprint(time.perf_counter() - t)"
    answer = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    return float(answer.stdout.splitlines()[-1])


def _overhead(step: dict[str, float]) -> float:
    whole = step["timing_s/step"] - step.get("timing_s/save_checkpoint", 0.0)
    return 1 - sum(step.get(part, 0.0) for part in _WORK) / whole


def _median(steps: list[dict[str, float]], name: str) -> float:
    return statistics.median(step.get(name, 0.0) for step in steps)


if __name__ == "__main__":
    main()
