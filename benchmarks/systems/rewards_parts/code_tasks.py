"""Published programming tasks with solutions, and each of them in the form that a grader takes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangu_verl.types import RewardRow

from . import HUMAN_EVAL, LEET_CODE, MBPP

FENCE = "```"


@dataclass(frozen=True, slots=True)
class Task:
    """``tests`` is code that raises where the program is wrong."""

    name: str
    program: str
    tests: tuple[str, ...]

    @property
    def response(self) -> str:
        return fenced(self.program)

    def reward_row(self, *, cpu_seconds: float | None = None) -> RewardRow:
        tests = [{"kind": "assert", "code": test} for test in self.tests]
        extra = {} if cpu_seconds is None else {"cpu_seconds": cpu_seconds}
        return RewardRow(
            id=self.name, domain="code", question="", response=self.response, answer=self.response, tests=tests,
            extra=extra,
        )  # fmt: skip

    def as_calls(self) -> tuple[str, dict[str, Any]]:
        """For graders that only compare what a call returns: a response whose added function runs the tests."""
        added = f"def run_tests(_):\n    exec({chr(10).join(self.tests)!r}, globals())\n    return True\n"
        return fenced(f"{self.program}\n\n{added}"), {"fn_name": "run_tests", "inputs": ["0"], "outputs": ["true"]}


def fenced(code: str) -> str:
    return f"{FENCE}python\n{code}\n{FENCE}"


def human_eval(data: Path) -> Iterator[Task]:
    with gzip.open(data / HUMAN_EVAL, "rt", encoding="utf-8") as lines:
        for task in map(json.loads, lines):
            test = f"{task['test']}\ncheck({task['entry_point']})\n"
            yield Task(task["task_id"], task["prompt"] + task["canonical_solution"], (test,))


def mbpp(data: Path) -> Iterator[Task]:
    with (data / MBPP).open(encoding="utf-8") as lines:
        for task in map(json.loads, lines):
            tests = tuple(f"{task['test_setup_code']}\n{test}" for test in task["test_list"])
            yield Task(f"mbpp/{task['task_id']}", task["code"], tests)


def leet_code(data: Path) -> Iterator[Task]:
    for index, task in enumerate(json.loads((data / LEET_CODE).read_text(encoding="utf-8"))):
        yield Task(f"leetcode/{index}", task["solutions"], (task["tests"]["functional"],))


READERS: dict[str, Callable[[Path], Iterator[Task]]] = {"humaneval": human_eval, "mbpp": mbpp, "leetcode": leet_code}
