"""Ten thousand programs in one pool: what is left behind, and whether memory grows.

Programs that pass, fail, leave hard, write files and cannot be compiled take turns. What is compared is the state after
the first thousand with that after the last: processes, zombies, open descriptors, files in the folder for temporary
ones, and memory of this process and all it started.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from pangu_verl.mars.code.source import CodeSource

from .code_graders import CORES, judged
from .code_tasks import Task

NUM_RUNS = 10_000
WARM_UP_RUNS = 1_000
BATCH = 500

_TEST = ("assert f(3) == 6",)
PROGRAMS = (
    "def f(n): return 2 * n",
    "def f(n): return n",
    "import os\ndef f(n): os._exit(0)",
    "def f(n):\n with open('left', 'w') as file: file.write('x' * 100_000)\n return 2 * n",
    "def f(n) return",
)


def measure(data: Path | None, repeats: int) -> dict[str, Any]:
    source = CodeSource(slots=CORES)
    process = psutil.Process()
    started_with = set(process.children(recursive=True))
    files = set(os.listdir(tempfile.gettempdir()))
    try:
        num_passed = _run(source, WARM_UP_RUNS)
        before = _state(process)
        started = time.perf_counter()
        memory_mib = []
        for _ in range(0, NUM_RUNS, BATCH):
            num_passed += _run(source, BATCH)
            memory_mib.append(_memory_mib(process))
        seconds = time.perf_counter() - started
        after = _state(process)
    finally:
        source.close()
    left = set(process.children(recursive=True)) - started_with
    return {
        "runs": NUM_RUNS,
        "passed": num_passed,
        "programs_per_second": NUM_RUNS / seconds,
        "before": before,
        "after": after,
        "memory_mib": memory_mib,
        "memory_growth_mib": after["memory_mib"] - before["memory_mib"],
        "processes_left_after_close": len(left),
        "files_left": sorted(set(os.listdir(tempfile.gettempdir())) - files)[:20],
    }


def _run(source: CodeSource, num_runs: int) -> int:
    tasks = [Task(str(index), PROGRAMS[index % len(PROGRAMS)], _TEST) for index in range(num_runs)]
    return sum(verdict.passed is True for verdict in judged(source, tasks))


def _state(process: psutil.Process) -> dict[str, Any]:
    started = process.children(recursive=True)
    return {
        "processes": len(started),
        "zombies": sum(child.status() == psutil.STATUS_ZOMBIE for child in started),
        "descriptors": process.num_fds(),
        "memory_mib": _memory_mib(process),
    }


def _memory_mib(process: psutil.Process) -> float:
    every = [process, *process.children(recursive=True)]
    return round(float(sum(each.memory_info().rss for each in every)) / 2**20, 1)


def table(figures: dict[str, Any]) -> list[list[object]]:
    rows = [[name, figures["before"][name], figures["after"][name]] for name in figures["before"]]
    left = [
        ["processes left after close", None, figures["processes_left_after_close"]],
        ["files left", None, len(figures["files_left"])],
        ["programs/s", None, figures["programs_per_second"]],
    ]
    return [[f"{figures['runs']} programs", "before", "after"], *rows, *left]
