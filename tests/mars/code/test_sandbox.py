"""The sandbox itself: what it leaves behind, how it survives, and which layers it says to hold."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pangu_verl.mars.code.launching import SandboxFailed
from pangu_verl.mars.code.pool import SandboxPool
from pangu_verl.mars.code.rows import CallTest, StdinTest
from pangu_verl.mars.code.running import run_test
from pangu_verl.mars.code.sandbox.layers import GUARDS, LAYERS, Standing
from pangu_verl.mars.code.sandbox.limits import Limits
from pangu_verl.mars.code.sandbox.seccomp import DENIED, Instruction, filter_program
from pangu_verl.mars.code.warm_process import WarmProcess

RIGHT = "def f(x): return x + 1"
TEST = CallTest("f", [1], (2,), Limits(cpu_seconds=1))


@pytest.fixture
def warm() -> Iterator[WarmProcess]:
    warm = WarmProcess()
    yield warm
    warm.stop()


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


# --- what is left behind ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_runs", [60, pytest.param(10_000, marks=pytest.mark.slow)])
def test_runs_leave_no_process_file_or_zombie(num_runs: int, warm: WarmProcess) -> None:
    programs = [
        (RIGHT, TEST),
        ("def f(x):\n import os\n os._exit(3)", TEST),
        ("print(1)", StdinTest("", "1", Limits())),
    ]
    programs.append(("open('left', 'w').write('x')\nprint(1)", StdinTest("", "1", Limits())))
    for code, test in programs:
        run_test(warm, code, test)
    before = descendants()
    files, memory = set(os.listdir("/tmp")), sum(process.memory_info().rss for process in before)
    descriptors = psutil.Process().num_fds()
    for index in range(num_runs):
        run_test(warm, *programs[index % len(programs)])
    assert descendants() == before
    assert psutil.Process().num_fds() == descriptors
    assert not [name for name in set(os.listdir("/tmp")) - files if name in ("left", "scratch")]
    assert sum(process.memory_info().rss for process in before) < memory + (8 << 20)


def test_each_program_finds_an_empty_folder(warm: WarmProcess) -> None:
    code = "import os\nprint(os.getcwd(), os.listdir())\nopen('left', 'w').close()"
    for _ in range(2):
        assert run_test(warm, code, StdinTest("", "/tmp []", Limits())).passed


def test_stopping_leaves_no_process() -> None:
    before = descendants()
    warm = WarmProcess()
    warm.started()
    assert len(descendants()) > len(before)
    warm.stop()
    psutil.wait_procs([process for process in descendants() if process not in before], timeout=10)
    assert descendants() == before


def test_programs_end_with_the_warm_process(warm: WarmProcess) -> None:
    before = descendants()
    warm.started()
    processes = [process for process in descendants() if process not in before]
    warm.stop()
    gone, alive = psutil.wait_procs(processes, timeout=10)
    assert len(gone) >= 1
    assert not alive


def test_parent_that_is_killed_leaves_no_process() -> None:
    code = (
        "from pangu_verl.mars.code.warm_process import WarmProcess\n"
        "from pangu_verl.mars.code.running import run_test\n"
        "from pangu_verl.mars.code.rows import StdinTest\n"
        "from pangu_verl.mars.code.sandbox.limits import Limits\n"
        "warm = WarmProcess()\nwarm.started()\nprint('started', flush=True)\n"
        "run_test(warm, 'import time\\ntime.sleep(600)', StdinTest('', '', Limits(cpu_seconds=300)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"started\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert gone
    assert not alive


# --- survival --------------------------------------------------------------------------------------------------------


def test_warm_process_that_was_killed_is_replaced(warm: WarmProcess) -> None:
    warm.started()
    others = {process.pid for process in descendants()}
    warm.stop()
    warm.started()
    for process in descendants():
        if process.pid not in others and process.is_running():
            process.send_signal(signal.SIGKILL)
    with contextlib.suppress(SandboxFailed):  # seen at once, or by the first program
        run_test(warm, RIGHT, TEST)
    assert run_test(warm, RIGHT, TEST).passed


def test_pool_goes_on_after_a_sandbox_failed() -> None:
    def fail(_: WarmProcess) -> None:
        raise SandboxFailed("on purpose")

    pool = SandboxPool(slots=1)
    with pytest.raises(SandboxFailed):
        pool.submit(fail).result()
    assert pool.submit(lambda warm: run_test(warm, RIGHT, TEST)).result().passed
    pool.close()


def test_nothing_starts_before_the_first_program() -> None:
    before = descendants()
    SandboxPool(slots=4).close()
    assert descendants() == before


# --- layers ----------------------------------------------------------------------------------------------------------


def test_layer_that_is_off_is_named_with_its_reason() -> None:
    warm = WarmProcess(without=["seccomp"])
    standing = warm.started()
    warm.stop()
    assert "seccomp" not in standing.held
    assert standing.lacking["seccomp"] == "switched off"


def test_every_layer_holds_or_says_why_not(warm: WarmProcess) -> None:
    standing = warm.started()
    assert standing.held | standing.lacking.keys() == set(LAYERS)
    assert not standing.held & standing.lacking.keys()


def test_limits_alone_guard_nothing() -> None:
    assert Standing(frozenset({"limits", "privileges"})).unguarded == list(GUARDS)


@pytest.mark.parametrize(
    "layers",
    [
        {"landlock", "seccomp"},
        {"mount_namespace", "network_namespace", "process_namespace"},
        {"bubblewrap", "seccomp"},
    ],
)
def test_namespaces_or_a_filter_beside_what_guards_files_are_enough(layers: set[str]) -> None:
    assert Standing(frozenset(layers)).unguarded == []


def test_bubblewrap_alone_does_not_keep_programs_apart() -> None:
    assert Standing(frozenset({"bubblewrap", "landlock"})).unguarded == ["processes"]


def test_landlock_takes_over_where_there_are_no_namespaces() -> None:
    warm = WarmProcess(without=["user_namespace", "network_namespace", "process_namespace", "mount_namespace"])
    if "landlock" not in warm.started().held:
        warm.stop()
        pytest.skip("this kernel has no Landlock")
    secret = Path(__file__)
    outcome = run_test(warm, f"print(open({str(secret)!r}).read()[:0])", StdinTest("", "", Limits()))
    right = run_test(warm, "import colorsys\nprint(1)", StdinTest("", "1", Limits()))
    warm.stop()
    assert outcome.passed is False
    assert "PermissionError" in outcome.reason
    assert right.passed, right.reason


# --- the filter of system calls --------------------------------------------------------------------------------------

ALLOWED, KILLED = 0x7FFF0000, 0x80000000
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
KILL = {"x86_64": 62, "aarch64": 129}
WRITE = {"x86_64": 1, "aarch64": 64}
PID = 7


def answer(program: list[Instruction], architecture: int, number: int, argument: int = 0) -> int:
    """What the kernel's machine makes of a call."""
    words = {0: number, 4: architecture, 16: argument}
    accumulator = position = 0
    while True:
        operation, if_true, if_false, operand = program[position]
        position += 1
        if operation == 0x20:
            accumulator = words[operand]
        elif operation == 0x06:
            return operand
        else:
            holds = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: bool(accumulator & operand)}
            position += if_true if holds[operation] else if_false


@pytest.mark.parametrize("machine", ARCHITECTURE)
def test_filter_denies_what_it_lists_and_little_else(machine: str) -> None:
    program, architecture = filter_program(machine, PID), ARCHITECTURE[machine]
    denied = 0x00050000 | errno.EPERM
    index = list(ARCHITECTURE).index(machine)
    for numbers in DENIED.values():
        if numbers[index] is not None:
            assert answer(program, architecture, numbers[index] or 0) == denied
    assert answer(program, architecture, WRITE[machine]) == ALLOWED
    assert answer(program, architecture, CLONE[machine], 0x00010000 | 0x100) == ALLOWED
    assert answer(program, architecture, CLONE[machine], 17) == denied
    assert answer(program, architecture, KILL[machine], PID) == ALLOWED
    assert answer(program, architecture, KILL[machine], 0) == denied
    assert answer(program, architecture, 435) == 0x00050000 | errno.ENOSYS


@pytest.mark.parametrize("machine", ARCHITECTURE)
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    program = filter_program(machine, PID)
    assert answer(program, 0x40000003, WRITE[machine]) == KILLED
    assert answer(program, ARCHITECTURE[machine], 0x40000001) == KILLED
