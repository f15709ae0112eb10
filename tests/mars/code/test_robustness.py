"""The code reward under attack, interruption and many callers: verdicts stay right, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from pangu_verl.mars.code.launching import SandboxFailed
from pangu_verl.mars.code.pool import SandboxPool
from pangu_verl.mars.code.rows import StdinTest
from pangu_verl.mars.code.running import run_test
from pangu_verl.mars.code.sandbox.limits import Limits
from pangu_verl.mars.code.source import CodeSource
from pangu_verl.mars.code.warm_process import WarmProcess
from pangu_verl.types import RewardRow, Verdict

Judge = Callable[..., Verdict]

SLEEPS = "import time\ntime.sleep(600)"
PATIENCE_S = 60.0


def prints(output: str) -> dict[str, Any]:
    return {"kind": "stdin", "input": "", "output": output}


def row(code: str, *tests: Any, **extra: Any) -> RewardRow:
    return RewardRow(id="1", domain="code", question="", response=code, answer=code, tests=tests, extra=extra)


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)


# --- hostile programs ------------------------------------------------------------------------------------------------

HOSTILE = {
    "prints 1 GB": ("for _ in range(1024): print('x' * (1 << 20))", "MiB of output"),
    "prints 1 GB of lines": ("import os\nfor _ in range(1 << 14): os.write(1, b'1\\n' * (1 << 15))", "MiB of output"),
    "takes 2 GiB": ("x = bytearray(2 << 30)", "MemoryError"),
    "takes 2 GiB bit by bit": (
        "x = []\nwhile True: x.append(bytearray(1 << 20))",
        "MemoryError|left with code|over the limit",
    ),
    "closes all it has": ("import os\nos.closerange(0, 100)", "left with code|Bad file|OSError|ended|printed"),
    "closes its channel": ("import os\nos.close(3)\nraise SystemExit(1)", "left with code"),
    "shuts its channel": ("import socket\nsocket.socket(fileno=3).shutdown(2)\nprint(5)", "printed '5|left with code"),
    "writes noise to its channel": ("import os\nos.write(3, b'\\xff' * 1000)\nprint(5)", "printed '5"),
    "kills itself": ("import os\nos.kill(os.getpid(), 9)\nos.abort()", "left with code"),
    "kills its parent": ("import os\nos.kill(os.getppid(), 9)\nprint(5)", "printed '5|Error"),
    "stops its parent": ("import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nprint(5)", "printed '5|Error"),
    "kills all": ("import os\nos.kill(-1, 9)\nprint(5)", "printed '5|Error|left with code"),
    "forks without end": ("import os\nwhile True: os.fork()", "Error"),
    "starts threads without end": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(600,)).start()",
        "RuntimeError|limit|MemoryError|left with code",
    ),
}


@pytest.mark.parametrize(("code", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_program_fails_and_the_next_is_judged(code: str, reason: str, judge: Judge) -> None:
    verdict = judge(code, prints("4"), cpu_seconds=1)
    assert (verdict.passed, verdict.score) == (False, 0.0)
    assert any(part in verdict.reason for part in reason.split("|")), verdict.reason
    assert judge("print(4)", prints("4")).passed


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.kill(os.getppid(), 9)\nprint(4)",
        "import os\nos.kill(-1, 9)\nprint(4)",
        "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nprint(4)",
        "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: time.sleep(600)\n os._exit(0)\nprint(4)",
    ],
    ids=["kills its parent", "kills all", "stops its parent", "leaves a daemon"],
)
def test_namespaces_alone_keep_a_program_from_other_processes(code: str) -> None:
    warm = WarmProcess(without=["seccomp"])
    if "process_namespace" not in warm.started().held:
        warm.stop()
        pytest.skip("no process namespace here")
    processes = descendants()
    run_test(warm, code, StdinTest("", "4", Limits(cpu_seconds=1)))
    left = descendants()
    outcome = run_test(warm, "print(4)", StdinTest("", "4", Limits()))
    warm.stop()
    assert left == processes
    assert outcome.passed, outcome.reason


# --- interruption ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victims", [slice(0, 1), slice(1, 2), slice(0, 2)], ids=["outer", "inner", "both"])
def test_warm_process_killed_in_the_middle_of_a_test_costs_one_verdict(victims: slice) -> None:
    before = descendants()
    warm = WarmProcess()
    warm.started()
    processes = [process for process in descendants() if process not in before]
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(run_test, warm, SLEEPS, StdinTest("", "4", Limits()))
        until(lambda: len(descendants()) > len(before) + len(processes))
        for process in processes[victims]:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended with the one before
                process.kill()
        with pytest.raises((SandboxFailed, OSError)):
            future.result()
    assert run_test(warm, "print(4)", StdinTest("", "4", Limits())).passed
    warm.stop()
    psutil.wait_procs([process for process in descendants() if process not in before], timeout=10)
    assert descendants() == before


def test_closing_ends_running_and_waiting_programs_without_a_verdict() -> None:
    before = descendants()
    source = CodeSource(slots=1)
    verdicts: list[Verdict] = []
    threads = [
        threading.Thread(target=lambda: verdicts.append(asyncio.run(source.judge(row(SLEEPS, prints("4"))))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(descendants()) >= len(before) + 3)
    source.close()
    source.close()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert [verdict.passed for verdict in verdicts] == [None] * 3
    assert all("could not be run" in verdict.reason for verdict in verdicts)
    assert descendants() == before


def test_closed_source_gives_no_verdict_and_raises_nothing() -> None:
    source = CodeSource(slots=1)
    source.close()
    verdict = asyncio.run(source.judge(row("print(4)", prints("4"))))
    assert verdict.passed is None
    assert "takes no more programs" in verdict.reason


def test_closed_process_is_not_started_again() -> None:
    before = descendants()
    warm = WarmProcess()
    warm.close()
    with pytest.raises(SandboxFailed, match="it was closed"):
        warm.started()
    assert descendants() == before


class RecordingPool(SandboxPool):
    """Keeps the futures that it gave."""

    def __init__(self) -> None:
        super().__init__(slots=1)
        self.futures: list[Future[Any]] = []

    def submit(self, work: Callable[[WarmProcess], Any]) -> Future[Any]:
        self.futures.append(super().submit(work))
        return self.futures[-1]


async def test_judgement_that_nobody_waits_for_ends_with_its_test() -> None:
    pool = RecordingPool()
    source = CodeSource(pool=pool)
    judging = asyncio.create_task(source.judge(row("import time\ntime.sleep(0.5)\nprint(4)", *[prints("4")] * 100)))
    while not pool.futures or not pool.futures[0].running():
        await asyncio.sleep(0.01)
    judging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await judging
    with pytest.raises(SandboxFailed, match="nobody waits"):
        await asyncio.wrap_future(pool.futures[0])
    assert (await source.judge(row("print(4)", prints("4")))).passed
    source.close()


def test_warm_process_ends_with_its_parent_also_where_a_fork_has_its_socket() -> None:
    code = (
        "import os, time\n"
        "from pangu_verl.mars.code.warm_process import WarmProcess\n"
        "warm = WarmProcess()\nwarm.started()\n"
        "fork = os.fork()\nif fork == 0: time.sleep(600)\n"
        "print(fork, flush=True)\ntime.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    with parent.stdout:
        fork = psutil.Process(int(parent.stdout.readline()))
    warm = [process for process in psutil.Process(parent.pid).children(recursive=True) if process != fork]
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(warm, timeout=10)
    fork.kill()
    assert gone
    assert not alive


def test_caller_with_many_open_files_is_served() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1300
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} open files are allowed here")
    warm = WarmProcess()
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        outcome = run_test(warm, "print(4)", StdinTest("", "4", Limits()))
    finally:
        warm.stop()
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert outcome.passed, outcome.reason


# --- many callers ----------------------------------------------------------------------------------------------------


async def _judged_together(source: CodeSource, numbers: range) -> list[bool | None]:
    rows = [row(f"print({number})", prints(str(number - number % 2))) for number in numbers]
    return [verdict.passed for verdict in await asyncio.gather(*map(source.judge, rows))]


def test_verdicts_belong_to_their_rows_from_many_threads_and_loops() -> None:
    before = descendants()
    source = CodeSource(slots=2)
    with ThreadPoolExecutor(6) as threads:
        futures = [threads.submit(asyncio.run, _judged_together(source, range(10))) for _ in range(6)]
        found = [future.result() for future in futures]
    source.close()
    assert found == [[number % 2 == 0 for number in range(10)]] * 6
    assert descendants() == before


def test_event_loop_goes_on_while_programs_run(pool: SandboxPool) -> None:
    source = CodeSource(pool=pool)

    async def turns_while_judging() -> int:
        judging = asyncio.create_task(source.judge(row("import time\ntime.sleep(0.3)\nprint(4)", prints("4"))))
        turns = 0
        while not judging.done():
            await asyncio.sleep(0)
            turns += 1
        assert judging.result().passed
        return turns

    assert asyncio.run(turns_while_judging()) > 10
