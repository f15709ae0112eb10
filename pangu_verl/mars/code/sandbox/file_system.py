"""A file system that holds Python's library, shared libraries and four devices, read-only, and nothing else.

Invariant: after ``enter_minimal_root`` no path leads to the machine's other files: the old root is unmounted. There is
no /proc. Each program gets an empty /tmp in memory, which ends with its mount namespace.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from pangu_verl.mars.code.sandbox import system_calls

SCRATCH_MIB = 64
#: Where the new root is put together: a folder that every machine has and that holds nothing to be shown.
_STAGE = "/sys"
_LIBRARY_FOLDERS = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/lib", "/lib32", "/lib64")
_FILES = ("/etc/ld.so.cache", "/usr/share/zoneinfo", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID = 0x1, 0x2


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


@functools.cache
def visible_paths() -> tuple[str, ...]:
    """What a program may read, outermost first, without paths inside another."""
    python = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    python.append(os.path.join(sys.base_prefix, "lib"))
    return outermost(path for path in (*_LIBRARY_FOLDERS, *_FILES, *python) if path and os.path.exists(path))


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Those that lie in no other one, each once and in order."""
    wanted = set(paths)
    return tuple(sorted(path for path in wanted if not any(str(parent) in wanted for parent in Path(path).parents)))


def enter_minimal_root() -> None:
    """A new mount namespace with the minimal root in it."""
    system_calls.unshare(system_calls.CLONE_NEWNS)
    system_calls.mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    system_calls.mount("tmpfs", _STAGE, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=755")
    for path in visible_paths():
        _show(path)
    # There already, where Python's packages lie below it; the scratch folder will cover them.
    os.makedirs(_STAGE + "/tmp", exist_ok=True)
    os.chdir(_STAGE)
    system_calls.system_call("pivot_root", system_calls.PIVOT_ROOT[platform.machine()], b".", b".")
    system_calls.unmount(".", _MNT_DETACH)
    os.chdir("/")
    _make_read_only("/")


def enter_scratch_folder() -> None:
    """An empty, writable /tmp of one's own, made the working folder."""
    system_calls.unshare(system_calls.CLONE_NEWNS)
    options = f"size={SCRATCH_MIB}m,nr_inodes=4096,mode=777"
    system_calls.mount("tmpfs", "/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, options)
    os.chdir("/tmp")


def _show(path: str) -> None:
    target = _STAGE + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path) and os.path.isdir(path):  # /lib of merged systems points to usr/lib
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.mkdir(target)
    else:
        Path(target).touch()
    system_calls.mount(path, target, None, _MS_BIND | _MS_REC)
    _make_read_only(target)


def _make_read_only(path: str) -> None:
    attributes = _MountAttributes(attr_set=_ATTR_RDONLY | _ATTR_NOSUID)
    system_calls.system_call(
        "mount_setattr",
        system_calls.MOUNT_SETATTR,
        _AT_FDCWD,
        os.fsencode(path),
        _AT_RECURSIVE,
        system_calls.address(attributes),
        ctypes.sizeof(attributes),
    )
