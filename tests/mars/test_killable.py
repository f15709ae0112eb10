"""Calls in children that can be killed. The targets are functions of the standard library."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from pangu_verl.mars.killable import CallFailed, KillableFunction, LimitExceeded, Limits

SHORT = Limits(cpu_seconds=0.2, wall_seconds=5.0)


@pytest.fixture
def killable(request: pytest.FixtureRequest) -> Iterator[KillableFunction]:
    function = KillableFunction(request.param, limits=SHORT)
    yield function
    function.close()


@pytest.mark.parametrize("killable", ["operator:add"], indirect=True)
def test_call_returns_the_result(killable: KillableFunction) -> None:
    assert killable.submit(2, 3).result() == 5


@pytest.mark.parametrize("killable", ["os:getpid"], indirect=True)
def test_calls_share_one_child(killable: KillableFunction) -> None:
    assert killable.submit().result() == killable.submit().result() != os.getpid()


@pytest.mark.parametrize("killable", ["operator:pow"], indirect=True)
def test_cpu_limit_ends_a_loop_inside_c_code(killable: KillableFunction) -> None:
    with pytest.raises(LimitExceeded, match=r"0\.2 s of CPU time"):
        killable.submit(9, 9**9).result()


def test_wall_limit_ends_a_call_that_waits() -> None:
    function = KillableFunction("time:sleep", limits=Limits(wall_seconds=0.3))
    with pytest.raises(LimitExceeded, match=r"0\.3 s of wall time"):
        function.submit(60).result()
    function.close()


@pytest.mark.parametrize("killable", ["builtins:bytearray"], indirect=True)
def test_memory_limit_ends_a_call_that_allocates(killable: KillableFunction) -> None:
    with pytest.raises(LimitExceeded, match="2048 MiB of memory"):
        killable.submit(3 << 30).result()


@pytest.mark.parametrize("killable", ["operator:pow"], indirect=True)
def test_next_call_after_a_kill_finds_a_fresh_child(killable: KillableFunction) -> None:
    with pytest.raises(LimitExceeded):
        killable.submit(9, 9**9).result()
    assert killable.submit(2, 10).result() == 1024


@pytest.mark.parametrize("killable", ["os:getpid"], indirect=True)
def test_a_child_killed_while_idle_costs_no_call(killable: KillableFunction) -> None:
    child = killable.submit().result()
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert killable.submit().result() != child


@pytest.mark.parametrize("killable", ["os:_exit"], indirect=True)
def test_a_child_that_leaves_is_reported_with_its_code(killable: KillableFunction) -> None:
    with pytest.raises(CallFailed, match="left with code 3"):
        killable.submit(3).result()


@pytest.mark.parametrize("killable", ["operator:truediv"], indirect=True)
def test_an_error_is_reported_and_the_child_lives_on(killable: KillableFunction) -> None:
    with pytest.raises(CallFailed, match="ZeroDivisionError"):
        killable.submit(1, 0).result()
    assert killable.submit(1, 2).result() == 0.5


@pytest.mark.parametrize("killable", ["no_such_module:function"], indirect=True)
def test_a_target_that_cannot_be_imported_is_named(killable: KillableFunction) -> None:
    with pytest.raises(CallFailed, match=r"no_such_module:function.*ModuleNotFoundError"):
        killable.submit().result()


@pytest.mark.parametrize("killable", ["os:getenv"], indirect=True)
def test_a_child_does_not_see_the_secrets_of_its_parent(
    killable: KillableFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    assert killable.submit("SOME_API_KEY").result() is None


@pytest.mark.parametrize("killable", ["operator:add"], indirect=True)
def test_call_works_from_another_thread(killable: KillableFunction) -> None:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(killable.submit(2, 3).result()))
    thread.start()
    thread.join()
    assert results == [5]


@pytest.mark.parametrize("killable", ["time:sleep"], indirect=True)
def test_a_call_does_not_block_the_event_loop(killable: KillableFunction) -> None:
    async def count_turns_of_the_loop() -> int:
        call = asyncio.ensure_future(asyncio.wrap_future(killable.submit(0.1)))
        turns = 0
        while not call.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(count_turns_of_the_loop()) > 100


def test_slots_run_at_the_same_time() -> None:
    function = KillableFunction("time:sleep", limits=Limits(wall_seconds=5.0), slots=2)
    first = function.submit(1.0)
    function.submit(0.0).result()
    assert not first.done()
    function.close()


def test_nothing_starts_before_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)
    KillableFunction("operator:add", limits=SHORT).close()


def test_close_ends_the_child() -> None:
    function = KillableFunction("os:getpid", limits=SHORT)
    child = function.submit().result()
    function.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize("last_call", ["", "f.submit(9, 9**9);"])
def test_no_child_outlives_a_killed_parent(last_call: str) -> None:
    script = (
        "import os, signal; from pangu_verl.mars.killable import KillableFunction, Limits;"
        f"f = KillableFunction('operator:pow', limits=Limits(cpu_seconds=0.3)); f.submit(2, 2).result(); {last_call}"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    # The child holds the standard error stream, so that this returns only once the child has ended too.
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=20, check=False)
    assert done.returncode == -signal.SIGKILL


def test_the_module_imports_no_mathematics() -> None:
    script = "import sys, pangu_verl.mars.maths; assert not {'sympy', 'math_verify', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
