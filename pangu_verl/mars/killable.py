"""Calls of one function in child processes that can be killed: time and memory are bounded, and the parent survives.

Invariant: every call ends within its limits, whatever the function does, also inside C code, because the kernel and
not Python ends it: the child arms a CPU timer per call and has an address-space limit, and the parent kills it when
wall time is up. The next call finds a fresh child. A child leaves when its pipe ends, so a parent's death leaves at
most one call's CPU time behind. Only JSON crosses the pipe, so a subverted child cannot run code here.

This is not a sandbox: the child has the rights of its user. Pools of ``multiprocessing`` (and pebble's, which is built
on them) would import the trainer's ``__main__``, hence torch and ray, into every child.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

START_SECONDS = 120.0
EXIT_SECONDS = 1.0
LONGEST_REPLY_BYTES = 1 << 20
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONHOME")


class CallFailed(Exception):
    """The call gave no result. The message says why, and fits a verdict's reason."""


class LimitExceeded(CallFailed):
    """The call was ended because it went over a limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one call may use. CPU time decides; wall time, which depends on the machine's load, only backs it up."""

    cpu_seconds: float = 1.0
    wall_seconds: float = 10.0
    memory_bytes: int = 2 << 30


class KillableFunction:
    """The function ``module:name``, called in up to ``slots`` children at a time. Starts nothing before the first call.

    For any thread: ``submit(...).result()``. For asyncio: ``await asyncio.wrap_future(function.submit(...))``.
    """

    def __init__(self, target: str, *, limits: Limits, slots: int = 1) -> None:
        self._children: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        for _ in range(slots):
            self._children.put(_Child(target, limits))
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="killable")

    def submit(self, *arguments: Any) -> Future[Any]:
        """Arguments and result are JSON data. The future raises ``CallFailed``."""
        return self._threads.submit(self._call, arguments)

    def close(self) -> None:
        """Waits for running calls, at most to their limits, drops the waiting ones, and leaves no child behind."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        while not self._children.empty():
            self._children.get().stop()

    def _call(self, arguments: Sequence[Any]) -> Any:
        child = self._children.get()
        try:
            return child.call(arguments)
        finally:
            self._children.put(child)


# --- the parent's side -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Running:
    process: subprocess.Popen[bytes]
    pipe: Connection[Any, Any]


class _Child:
    """One child process, restarted when it was lost. Used by one thread at a time."""

    def __init__(self, target: str, limits: Limits) -> None:
        self._target = target
        self._limits = limits
        self._running: _Running | None = None
        self._ready = False

    def call(self, arguments: Sequence[Any]) -> Any:
        request = json.dumps(arguments).encode()
        running = self._started()
        try:
            reply = self._exchange(running, request)
        except CallFailed:
            self.stop()
            with contextlib.suppress(CallFailed):
                self._running = self._launch()  # at once, so that the next call need not wait for its imports
            raise
        if "error" in reply:
            raise CallFailed(reply["error"])
        return reply["value"]

    def stop(self) -> None:
        running, self._running, self._ready = self._running, None, False
        if running is not None:
            running.pipe.close()
            running.process.kill()
            running.process.wait()

    def _exchange(self, running: _Running, request: bytes) -> dict[str, Any]:
        try:
            running.pipe.send_bytes(request)
            reply = _receive(running.pipe, self._limits.wall_seconds)
        except (EOFError, OSError, ValueError):
            raise self._loss(running.process) from None
        if reply is None:
            raise LimitExceeded(f"over the limit of {self._limits.wall_seconds:g} s of wall time")
        if "out_of_memory" in reply:
            raise LimitExceeded(f"over the limit of {self._limits.memory_bytes >> 20} MiB of memory")
        return reply

    def _loss(self, process: subprocess.Popen[bytes]) -> CallFailed:
        try:
            code = process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return CallFailed("the child process broke its connection")
        if code == -signal.SIGPROF:
            return LimitExceeded(f"over the limit of {self._limits.cpu_seconds:g} s of CPU time")
        return CallFailed(f"the child process left with code {code}")

    def _started(self) -> _Running:
        if self._ready and self._running is not None and self._running.process.poll() is not None:
            self.stop()
        if self._running is None:
            self._running = self._launch()
        if not self._ready:
            try:
                reply = _receive(self._running.pipe, START_SECONDS) or {"error": f"no sign after {START_SECONDS:g} s"}
            except (EOFError, OSError, ValueError):
                reply = {"error": str(self._loss(self._running.process))}
            if "error" in reply:
                self.stop()
                raise CallFailed(f"no child process for {self._target}: {reply['error']}")
            self._ready = True
        return self._running

    def _launch(self) -> _Running:
        ours, theirs = Pipe()
        arguments = [theirs.fileno(), self._limits.cpu_seconds, self._limits.memory_bytes, self._target]
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        with theirs:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", __name__, *map(str, arguments)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=environment,
                    pass_fds=[theirs.fileno()],
                )
            except OSError as error:
                ours.close()
                raise CallFailed(f"no child process for {self._target}: {error}") from None
        return _Running(process, ours)


def _receive(pipe: Connection[Any, Any], seconds: float) -> dict[str, Any] | None:
    """One reply, or None when time is up."""
    if not pipe.poll(seconds):
        return None
    reply = json.loads(pipe.recv_bytes(LONGEST_REPLY_BYTES))
    if not isinstance(reply, dict):
        raise ValueError("a reply is a JSON object")
    return reply


# --- the child's side ------------------------------------------------------------------------------------------------


def _serve(pipe: Connection[Any, Any], cpu_seconds: float, target: str) -> None:
    try:
        module, _, name = target.partition(":")
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is told
        pipe.send_bytes(_encoded({"error": _described(error)}))
        return
    pipe.send_bytes(_encoded({"value": "ready"}))
    while True:
        try:
            request = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(_timed_reply(function, json.loads(request), cpu_seconds))


def _timed_reply(function: Callable[..., Any], arguments: Sequence[Any], cpu_seconds: float) -> bytes:
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        return _encoded({"value": function(*arguments)})
    except MemoryError:
        return _encoded({"out_of_memory": True})
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is told
        return _encoded({"error": _described(error)})
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _encoded(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply).encode()


def main() -> None:
    descriptor, cpu_seconds, memory_bytes, target = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when a child ends
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # the default ends the process without asking Python
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes), int(memory_bytes)))
    _serve(Connection(int(descriptor)), float(cpu_seconds), target)


if __name__ == "__main__":
    main()
