"""The few Linux system calls of the sandbox that Python 3.11 does not offer, by ctypes.

Invariant: a call that fails raises ``OSError`` with the call's name. What is called when, and why, is not decided here.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x0002_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38

#: Numbers that are the same on every architecture since Linux 5.
MOUNT_SETATTR = 442
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_ADD_RULE = 445
LANDLOCK_RESTRICT_SELF = 446
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
CAPSET = {"x86_64": 126, "aarch64": 91}

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    _checked("unshare", _libc.unshare(ctypes.c_int(flags)))


def setns(descriptor: int, kind: int) -> None:
    _checked("setns", _libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)))


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    kind_bytes = None if kind is None else kind.encode()
    result = _libc.mount(os.fsencode(source), os.fsencode(target), kind_bytes, ctypes.c_ulong(flags), options.encode())
    _checked(f"mount {target}", result)


def unmount(target: str, flags: int) -> None:
    _checked(f"umount2 {target}", _libc.umount2(os.fsencode(target), ctypes.c_int(flags)))


def prctl(option: int, argument: int | ctypes.c_void_p, further: ctypes.c_void_p | None = None) -> None:
    first = argument if isinstance(argument, ctypes.c_void_p) else ctypes.c_ulong(argument)
    _checked("prctl", _libc.prctl(ctypes.c_int(option), first, further or ctypes.c_ulong(0), _ZERO, _ZERO))


def system_call(name: str, number: int, *arguments: int | ctypes.c_void_p | bytes) -> int:
    """The result of a call by number; integers cross as long."""
    converted = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *converted)
    return _checked(name, result)


def address(structure: ctypes.Structure | ctypes.Array[ctypes.c_uint32]) -> ctypes.c_void_p:
    return ctypes.cast(ctypes.byref(structure), ctypes.c_void_p)


_ZERO = ctypes.c_ulong(0)


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
