"""The graders of programs: ours, verl's ``prime_code``, and plain execution of program and test in one process.

verl's SandboxFusion scorer needs a service and is not here. Invariant: what was not written by the authors of a
published task or of this benchmark is never executed in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

os.environ.setdefault("VERL_USE_EXTERNAL_PLUGINS", "none")  # verl as it is, for what is measured is verl's own

from verl.utils.reward_score import prime_code

from pangu_verl.mars.code.inside.prelude import prelude
from pangu_verl.mars.code.source import CodeSource
from pangu_verl.types import Verdict

from .code_tasks import Task

PRIME_CODE, IN_PROCESS = "verl prime_code", "in process"
CORES = 2
_PLAIN_CPU_SECONDS = 3
_PLAIN_WALL_SECONDS = 20
_PLAIN = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({_PLAIN_CPU_SECONDS}, {_PLAIN_CPU_SECONDS}))
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
exec(compile(sys.stdin.read(), "<program>", "exec"), {{"__name__": "solution"}})
"""


def judged(source: CodeSource, tasks: Sequence[Task], *, cpu_seconds: float | None = None) -> list[Verdict]:
    async def all_of_them() -> list[Verdict]:
        return await asyncio.gather(*(source.judge(task.reward_row(cpu_seconds=cpu_seconds)) for task in tasks))

    return asyncio.run(all_of_them())


@contextlib.contextmanager
def workers() -> Iterator[ProcessPoolExecutor]:
    """Processes for the other graders, as many as ours has slots. Forked, so that verl is imported once."""
    with ProcessPoolExecutor(CORES, mp_context=multiprocessing.get_context("fork")) as pool:
        pool.submit(os.getpid).result()  # now, before there are threads that a fork would cut off
        yield pool


def prime_code_passes(task: Task) -> bool:
    response, calls = task.as_calls()
    return prime_code_accepts(response, calls)


def prime_code_accepts(response: str, calls: dict[str, Any]) -> bool:
    """With the option that verl passes; without it, this scorer raises on every program that fails."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        score, _ = prime_code.compute_score(response, calls, continuous=True)
    return float(score) == 1.0


def passes_in_process(task: Task) -> bool:
    """In the worker itself, with the names that ours offers too: only for a task's own solution."""
    namespace: dict[str, Any] = prelude() | {"__name__": "solution"}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            for code in (task.program, *task.tests):
                exec(compile(code, "<program>", "exec"), namespace)
    except (Exception, SystemExit):  # noqa: BLE001 - whatever a test raises, the program failed it
        return False
    return True


def passes_plainly(program: str, tests: Sequence[str]) -> bool:
    """In a fresh interpreter with limits and nothing else: it exits with 0, as graders of this kind have it."""
    code = "\n".join((program, *tests))
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-c", _PLAIN],
            input=code.encode("utf-8", "surrogatepass"),
            capture_output=True,
            timeout=_PLAIN_WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0
