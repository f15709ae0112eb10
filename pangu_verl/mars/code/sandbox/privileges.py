"""Giving up rights: the program is nobody, holds no capability, and no file it executes can give it one."""

from __future__ import annotations

import ctypes
import os
import platform

from pangu_verl.mars.code.sandbox import system_calls
from pangu_verl.mars.code.sandbox.namespaces import NOBODY

_CAPABILITY_VERSION = 0x2008_0522
_WORDS_OF_THREE_SETS = 6


def drop_privileges() -> None:
    """For good. Root becomes nobody where nobody can read Python's library, and else stays without any capability."""
    if os.geteuid() == 0 and _nobody_reads_the_library():
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * _WORDS_OF_THREE_SETS)()
    number = system_calls.CAPSET[platform.machine()]
    system_calls.system_call("capset", number, system_calls.address(header), system_calls.address(sets))
    system_calls.prctl(system_calls.PR_SET_NO_NEW_PRIVS, 1)
    system_calls.prctl(system_calls.PR_SET_DUMPABLE, 0)


def _nobody_reads_the_library() -> bool:
    """Not where Python lives in root's home and no mount namespace shows it elsewhere, or where nobody is unknown."""
    try:
        os.seteuid(NOBODY)
    except OSError:  # a user namespace that bubblewrap made for root knows root alone
        return False
    try:
        return os.access(os.__file__, os.R_OK, effective_ids=True)
    finally:
        os.seteuid(0)
