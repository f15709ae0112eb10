"""Landlock: what files a process may open, where a mount namespace is not to be had, as in most containers.

Invariant: the rule set cannot be lifted. It lets the process read what ``file_system.visible_paths`` names and write
nothing at all. It does not hide names: a path can still be tested for its existence.
"""

from __future__ import annotations

import ctypes
import os

from pangu_verl.mars.code.sandbox import system_calls
from pangu_verl.mars.code.sandbox.file_system import visible_paths

_VERSION_FLAG = 1
_PATH_BENEATH = 1
#: Kinds of access each version of the interface knows of, as the highest bit; a kind that is handled is denied.
_HIGHEST_BIT_BY_VERSION = {1: 12, 2: 13, 3: 14, 4: 14}
_HIGHEST_BIT_SINCE = 15
_READ_FILE, _READ_FOLDER, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
_WRITABLE_DEVICE = "/dev/null"


class _RuleSet(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def restrict_files() -> None:
    """For this process and all it starts. Raises ``OSError`` where the kernel has none."""
    version = system_calls.system_call(
        "landlock_create_ruleset", system_calls.LANDLOCK_CREATE_RULESET, 0, 0, _VERSION_FLAG
    )
    system_calls.prctl(system_calls.PR_SET_NO_NEW_PRIVS, 1)
    highest_bit = _HIGHEST_BIT_BY_VERSION.get(version, _HIGHEST_BIT_SINCE)
    rules = _RuleSet(handled_access_fs=(1 << (highest_bit + 1)) - 1)
    descriptor = system_calls.system_call(
        "landlock_create_ruleset",
        system_calls.LANDLOCK_CREATE_RULESET,
        system_calls.address(rules),
        ctypes.sizeof(rules),
        0,
    )
    try:
        for path in visible_paths():
            _allow(descriptor, path)
        system_calls.system_call("landlock_restrict_self", system_calls.LANDLOCK_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)


def _allow(rules: int, path: str) -> None:
    access = _READ_FILE | _READ_FOLDER if os.path.isdir(path) else _READ_FILE
    if path == _WRITABLE_DEVICE:
        access |= _WRITE_FILE
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathRule(allowed_access=access, parent_fd=descriptor)
        system_calls.system_call(
            "landlock_add_rule",
            system_calls.LANDLOCK_ADD_RULE,
            rules,
            _PATH_BENEATH,
            system_calls.address(rule),
            0,
        )
    finally:
        os.close(descriptor)
