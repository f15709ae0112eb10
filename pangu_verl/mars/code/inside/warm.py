"""The warm process: an isolated interpreter that forks a child for each program, so that a test costs milliseconds.

Invariant: it never executes model-written code nor reads any; a child gets its code over a socket of its own, after it
entered every layer. What a child did is told by the kernel (exit status, CPU time), not by the child. It leaves when
its control socket or its parent ends, and with it, by the process namespace, all that it started. No other signal than
SIGKILL ends it, or its control group would be left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any, NamedTuple

from pangu_verl.mars.code.inside.program import run_program
from pangu_verl.mars.code.inside.testing import run_test
from pangu_verl.mars.code.sandbox import file_system, layers, system_calls
from pangu_verl.mars.code.sandbox.limits import Limits
from pangu_verl.mars.code.wire import Channel

LONGEST_REQUEST_BYTES = 4096
MOST_DESCRIPTORS_SENT = 4
_FIRST_FREE = 10
_SANE_PATH = "/usr/bin:/bin"


class Child(NamedTuple):
    """``number`` is the parent's name for it."""

    number: int
    pid: int
    memory_mib: int


class Warm:
    """Forks, watches and ends children on request."""

    def __init__(self, control: socket.socket, without: list[str], outside_root: tuple[int, int] | None) -> None:
        self._control = control
        self._parent = _watched_parent()
        self._null = os.open(os.devnull, os.O_RDWR)
        entered = layers.enter_warm_layers(without, outside_root)
        self._process_namespaces = entered.process_namespaces
        self._group = entered.group if "control_group" not in entered.lacking else None
        self._children: dict[int, Child] = {}
        warm = {name for name in layers.WARM_LAYERS if name not in entered.lacking}
        lacking = self._tried(warm, without) | entered.lacking
        self._held = frozenset(name for name in layers.LAYERS if name not in lacking)
        folders = entered.group.folders if entered.group is not None else []
        self._say({"held": sorted(self._held), "lacking": lacking, "folders": folders})

    def serve(self) -> None:
        while True:
            watch = select.poll()  # not select, which knows no descriptor above 1023: the parent chose the numbers
            for descriptor in (self._control.fileno(), *self._parent, *self._children):
                watch.register(descriptor, select.POLLIN)
            for descriptor, _ in watch.poll():
                if descriptor in self._children:
                    self._collect(descriptor)
                elif descriptor in self._parent or not self._obey():
                    return

    def _obey(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, LONGEST_REQUEST_BYTES, MOST_DESCRIPTORS_SENT)
        if not data:
            return False
        request = json.loads(data)
        if "kill" in request:
            for child in self._children.values():
                if child.number == request["kill"]:
                    os.kill(child.pid, signal.SIGKILL)
            return True
        try:
            self._start(request, descriptors)
        except OSError as error:
            self._say({"ended": request["start"], "status": -1, "cpu_seconds": 0.0, "error": str(error)})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _start(self, request: dict[str, Any], descriptors: list[int]) -> None:
        memory_mib: int = request["memory_mib"]
        if self._group is not None:
            running_mib = [child.memory_mib for child in self._children.values()]
            self._group.bound_memory(sum(mib + file_system.SCRATCH_MIB for mib in (memory_mib, *running_mib)))
        pid = self._fork()
        if pid == 0:
            try:
                self._be_child(request, descriptors)
            finally:
                os._exit(1)
        self._children[os.pidfd_open(pid)] = Child(request["start"], pid, memory_mib)

    def _fork(self) -> int:
        if self._process_namespaces is not None:
            self._process_namespaces.give_next_child_its_own()
        return os.fork()

    def _collect(self, descriptor: int) -> None:
        child = self._children.pop(descriptor)
        os.close(descriptor)
        _, status, usage = os.wait4(child.pid, 0)
        self._say(
            {
                "ended": child.number,
                "status": os.waitstatus_to_exitcode(status),
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
            }
        )

    def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent left; the next receive says so
            self._control.send(json.dumps(message).encode())

    def _tried(self, warm: set[str], without: list[str]) -> dict[str, str]:
        read_end, write_end = os.pipe()
        pid = self._fork()
        if pid == 0:
            try:
                os.write(write_end, json.dumps(layers.try_program_layers(warm, without)).encode())
            finally:
                os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            told = pipe.read()
        os.waitpid(pid, 0)
        lacking: dict[str, str] = json.loads(told or "{}")
        return lacking if told else dict.fromkeys(layers.PROGRAM_LAYERS, "the trial process was ended")

    def _be_child(self, request: dict[str, Any], descriptors: list[int]) -> None:
        os.setsid()
        channel, link = self._arranged(descriptors)
        limits = Limits(cpu_seconds=request["cpu_seconds"], memory_mib=request["memory_mib"])
        layers.enter_program_layers(self._held, limits)
        system_calls.prctl(system_calls.PR_SET_PDEATHSIG, signal.SIGKILL)
        channel.send({"ready": True})
        payload = channel.receive()
        if payload["kind"] == "test":
            assert link is not None
            run_test(payload, channel, link)
        else:
            run_program(payload, channel, link)

    def _arranged(self, descriptors: list[int]) -> tuple[Channel, Channel | None]:
        """Standard streams at 0 to 2, the channel at 3, a link at 4, and nothing else open."""
        high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _FIRST_FREE) for descriptor in (*descriptors, self._null)]
        channel, standard_input, standard_output, *link, null = high
        for place, descriptor in enumerate((standard_input, standard_output, null, channel, *link)):
            os.dup2(descriptor, place, inheritable=False)
        os.closerange(4 + len(link), os.sysconf("SC_OPEN_MAX"))
        ends = [Channel(socket.socket(fileno=place)) for place in range(3, 4 + len(link))]
        return ends[0], ends[1] if link else None


def _watched_parent() -> list[int]:
    """Readable at the parent's end. The control socket alone does not tell it where a fork of the parent has it too."""
    try:
        return [os.pidfd_open(os.getppid())]
    except OSError:  # it is outside of bubblewrap's namespace
        return []


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    told = json.loads(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when this process ends
    sys.argv[1:] = []
    os.environ.clear()
    os.environ.update(PATH=_SANE_PATH, HOME="/tmp", LANG="C.UTF-8", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    outside_root = told["outside_root"]
    warm = Warm(control, told["without"], None if outside_root is None else tuple(outside_root))
    gc.collect()
    gc.freeze()  # children then share the interpreter's pages
    warm.serve()


if __name__ == "__main__":
    main()
