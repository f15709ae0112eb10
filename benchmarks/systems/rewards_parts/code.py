"""Published tasks with their own solutions: how many pass, and how many isolated programs run in a second on two cores.

HumanEval is timed, each grader in its turn with two programs at a time. verl's ``prime_code`` cannot take LeetCode's
class together with test code, so that cell is empty. Only ours isolates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from pangu_verl.mars.code.pool import SandboxPool
from pangu_verl.mars.code.source import CodeSource

from . import OURS
from .code_graders import CORES, IN_PROCESS, PRIME_CODE, judged, passes_in_process, prime_code_passes, workers
from .code_tasks import READERS, Task
from .measuring import in_turn, median_ratio, on_cores, spread

Grader = Callable[[Sequence[Task]], list[bool | None]]
_TIMED = "humaneval"
_NOT_TAKEN = {(PRIME_CODE, "leetcode")}


def measure(data: Path, repeats: int) -> dict[str, Any]:
    tasks = {name: list(read(data)) for name, read in READERS.items()}
    with on_cores(CORES), workers() as pool:
        sandboxes = SandboxPool(slots=CORES)
        source = CodeSource(pool=sandboxes)
        try:
            graders = _graders(source, pool)
            layers = sorted(sandboxes.standing().held)
            passed = {name: _passed(name, grade, tasks) for name, grade in graders.items()}
            seconds = _timed(graders, tasks[_TIMED], repeats)
        finally:
            source.close()
    results = [_figures(name, passed[name], seconds, len(tasks[_TIMED])) for name in graders]
    return {
        "cores": CORES,
        "layers": layers,
        "programs": {name: len(each) for name, each in tasks.items()},
        "results": results,
    }


def _graders(source: CodeSource, pool: ProcessPoolExecutor) -> dict[str, Grader]:
    return {
        OURS: lambda tasks: [verdict.passed for verdict in judged(source, tasks)],
        PRIME_CODE: lambda tasks: list(pool.map(prime_code_passes, tasks)),
        IN_PROCESS: lambda tasks: list(pool.map(passes_in_process, tasks)),
    }


def _passed(name: str, grade: Grader, tasks: dict[str, list[Task]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for data_set, each in tasks.items():
        if (name, data_set) in _NOT_TAKEN:
            continue
        failed = [task.name for task, passed in zip(each, grade(each), strict=True) if not passed]
        found[data_set] = {"passed": len(each) - len(failed), "failed_ids": failed[:20]}
    return found


def _timed(graders: dict[str, Grader], tasks: Sequence[Task], repeats: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in graders}
    for repeat in range(repeats):
        for name in in_turn(list(graders), repeat):
            started = time.perf_counter()
            graders[name](tasks)
            seconds[name].append(time.perf_counter() - started)
    return seconds


def _figures(name: str, passed: dict[str, Any], seconds: dict[str, list[float]], num_tasks: int) -> dict[str, Any]:
    return {
        "grader": name,
        "isolates": name == OURS,
        "passed": passed,
        "programs_per_second": spread([num_tasks / each for each in seconds[name]]),
        "our_speed_by_theirs": None if name == OURS else median_ratio(seconds[name], seconds[OURS]),
    }


def table(figures: dict[str, Any]) -> list[list[object]]:
    data_sets = list(figures["programs"])
    heading = ["grader", "isolates", *(f"{name} of {figures['programs'][name]}" for name in data_sets),
               "programs/s", "ours by theirs"]  # fmt: skip
    rows = [
        [
            result["grader"],
            result["isolates"],
            *(result["passed"].get(name, {}).get("passed") for name in data_sets),
            result["programs_per_second"]["median"],
            result["our_speed_by_theirs"],
        ]
        for result in figures["results"]
    ]
    return [heading, *rows]
