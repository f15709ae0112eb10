"""A filter of system calls: one process, no execution of files, no sockets, no signals to others, no kernel interfaces.

Invariant: the filter cannot be removed and holds for threads too. It is the layer that keeps a program to one process,
which makes the limits of ``limits.py`` bounds of the whole program. Calls of a foreign architecture end the process.

It denies by list, since a list of what Python needs would break with each C library; the namespaces stand behind it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable

from pangu_verl.mars.code.sandbox import system_calls

#: Number of each denied call on x86_64 and on aarch64; None where there is no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440),
    "tkill": (200, 130),
    "perf_event_open": (298, 241),
    # the network, and memory outside the address space
    "socket": (41, 198),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # what Landlock leaves to a file's owner
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    # the kernel
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "acct": (163, 89),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "personality": (135, 92),
    "iopl": (172, None),
    "ioperm": (173, None),
}
#: Calls whose first argument is a process, allowed upon oneself.
ON_ITSELF: dict[str, tuple[int, int]] = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
#: The same, where 0 too means oneself.
ON_ITSELF_OR_ZERO: dict[str, tuple[int, int]] = {"prlimit64": (302, 261)}
_CLONE = (56, 220)
_CLONE3 = 435
_CLONE_THREAD = 0x0001_0000
_ARCHITECTURES = {"x86_64": (0, 0xC000_003E), "aarch64": (1, 0xC000_00B7)}
_FIRST_X32_CALL = 0x4000_0000

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _FIRST_ARGUMENT_OFFSET = 0, 4, 16
_ALLOW, _KILL, _FAIL = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_MODE_FILTER = 2

Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def install_filter() -> None:
    """On this process for good. Needs ``no_new_privs``; raises ``OSError`` where the machine has no such filter."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"seccomp: no filter was written for {machine}")
    instructions = b"".join(struct.pack("HBBI", *instruction) for instruction in filter_program(machine, os.getpid()))
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    program = _Program(len(instructions) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    system_calls.prctl(system_calls.PR_SET_SECCOMP, _MODE_FILTER, system_calls.address(program))


def filter_program(machine: str, pid: int) -> list[Instruction]:
    """The filter in classic BPF: (operation, jump if true, jump if false, operand) for each instruction."""
    index, architecture = _ARCHITECTURES[machine]
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_OFFSET),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        (_JUMP_AT_LEAST, 0, 1, _FIRST_X32_CALL),
        (_RETURN, 0, 0, _KILL),
    ]
    for numbers in DENIED.values():
        program += _when(numbers[index], [_failing(errno.EPERM)])
    program += _when(_CLONE3, [_failing(errno.ENOSYS)])  # the C library then uses clone, whose flags can be read
    thread_only: list[Instruction] = [(_JUMP_BITS, 0, 1, _CLONE_THREAD), (_RETURN, 0, 0, _ALLOW)]
    program += _when(_CLONE[index], [*_first_argument(thread_only), _failing(errno.EPERM)])
    for calls, allowed in ((ON_ITSELF, [pid]), (ON_ITSELF_OR_ZERO, [0, pid])):
        for both in calls.values():
            program += _when(both[index], [*_first_argument(_allowing(allowed)), _failing(errno.EPERM)])
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _when(number: int | None, instructions: list[Instruction]) -> list[Instruction]:
    """The instructions, skipped for any other call; they have to end in a return."""
    return [] if number is None else [(_JUMP_EQUAL, 0, len(instructions), number), *instructions]


def _first_argument(instructions: Iterable[Instruction]) -> list[Instruction]:
    return [(_LOAD, 0, 0, _FIRST_ARGUMENT_OFFSET), *instructions]


def _allowing(values: Iterable[int]) -> list[Instruction]:
    return [step for value in values for step in ((_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW))]


def _failing(number: int) -> Instruction:
    return (_RETURN, 0, 0, _FAIL | number)
