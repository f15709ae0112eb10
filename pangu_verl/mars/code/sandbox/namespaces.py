"""Namespaces of the kernel: identities, processes, network and System V objects of one's own.

Invariant: who enters a user namespace has no right outside it. The warm process enters once, and every program gets a
process namespace of its own besides, whose end is the end of all processes in it. Files are in ``file_system.py``.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from pangu_verl.mars.code.sandbox import system_calls

#: Who a program is, inside and, where the machine's root may say so, outside.
NOBODY = 65534


def enter_user_namespace() -> None:
    """Be nobody in a new user namespace, and root in it too if this process is root outside.

    Root needs both: it builds the file system from folders that only root may enter, and programs run as nobody.
    """
    uid, gid = os.geteuid(), os.getegid()
    helper = _MapWriter(os.getpid()) if uid == 0 else None
    try:
        system_calls.unshare(system_calls.CLONE_NEWUSER)
        if helper is not None and helper.write():
            return
        with contextlib.suppress(OSError):  # refused to a root that did not give the right up
            _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{NOBODY} {uid} 1")
        _write("/proc/self/gid_map", f"{NOBODY} {gid} 1")
    finally:
        if helper is not None:
            helper.close()


class _MapWriter:
    """A child that stays in the old namespace, because only from there may two identities be mapped."""

    def __init__(self, target: int) -> None:
        read_end, self._write_end = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._write_end)
            os._exit(0 if os.read(read_end, 1) and _maps_written(target) else 1)
        os.close(read_end)

    def write(self) -> bool:
        os.write(self._write_end, b"x")
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return status == 0

    def close(self) -> None:
        os.close(self._write_end)
        if self._pid:
            os.waitpid(self._pid, 0)


def _maps_written(target: int) -> bool:
    try:
        for name in ("uid_map", "gid_map"):
            _write(f"/proc/{target}/{name}", f"0 0 1\n{NOBODY} {NOBODY} 1")
    except OSError:
        return False
    return True


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def enter_network_namespace() -> None:
    """A network without interfaces, also without loopback."""
    system_calls.unshare(system_calls.CLONE_NEWNET)


def enter_ipc_namespace() -> None:
    system_calls.unshare(system_calls.CLONE_NEWIPC)


def become_first_process(afterwards: Callable[[], None]) -> None:
    """Go on as process 1 of a new process namespace; the caller waits for its end, and does ``afterwards``.

    By then all processes of the namespace are gone. Where the one that waits is killed, the namespace ends with it.
    """
    system_calls.unshare(system_calls.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        afterwards()
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    system_calls.prctl(system_calls.PR_SET_PDEATHSIG, signal.SIGKILL)


class ProcessNamespaces:
    """Gives the next child a process namespace of its own, as often as asked."""

    def __init__(self) -> None:
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def give_next_child_its_own(self) -> None:
        """Back to the own namespace first: the kernel makes a new one only from there."""
        system_calls.setns(self._own, system_calls.CLONE_NEWPID)
        system_calls.unshare(system_calls.CLONE_NEWPID)
