"""A control group of the kernel: what all programs of one warm process may use together, of memory and of processes.

The limits of ``limits.py`` bound one process; these bound the tree below it, also where no filter of system calls keeps
a program to one process. Both versions of the kernel's interface are used as they are mounted; nothing is mounted and
no controller is switched on here.

Invariant: the new group lies below the one that this process is in, or beside it where that one bounds nothing, so no
bound that somebody set for us is left. The warm process enters once and what it forks is inside: moving a process costs
milliseconds, being born there nothing. Who waits outside the group removes its folder at the end: the warm process's
waiting half, or the parent. Where both are killed, as Ray kills the children of a worker that ends, an empty folder
``pangu-verl-...`` stays until a group is made beside it ten minutes later or more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pangu_verl.mars.code.sandbox.limits import MEBIBYTE, MOST_PROCESSES

CONTROLLERS = ("memory", "pids")
NAME = "pangu-verl-"
#: For two programs at a time, the test's own process being one, and the warm process.
MOST_TASKS = 2 * MOST_PROCESSES + 2
#: What the warm process and the kernel's own records of a program take.
OWN_MIB = 64
REMOVAL_SECONDS = 1.0
#: A group is entered well within this time of being made, so an older one without processes belongs to nobody.
STALE_SECONDS = 600.0

_MEMORY_FILE = {1: "memory.limit_in_bytes", 2: "memory.max"}
_SWAP = {1: ("memory.swappiness", "0"), 2: ("memory.swap.max", "0")}
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of the kernel below which a group can be made, and what it can bound there."""

    folder: Path
    version: int
    controllers: tuple[str, ...]


def places(membership: str, mounts: str) -> list[Place]:
    """Where this process's groups are, from /proc/self/cgroup and /proc/self/mountinfo. Raises ``OSError``."""
    folders = _own_folders(membership, mounts)
    found: dict[tuple[Path, int], list[str]] = {}
    for controller in CONTROLLERS:
        version = 1 if controller in folders else 2
        folder = folders.get(controller if version == 1 else "")
        if folder is None:
            raise OSError(errno.ENOENT, f"no control groups for {controller} are mounted here")
        found.setdefault((folder, version), []).append(controller)
    return [
        Place(folder if version == 1 else _handing_down(folder), version, tuple(controllers))
        for (folder, version), controllers in found.items()
    ]


class ControlGroup:
    """A new group and its open files, through which it is entered and bounded when its folders are out of sight."""

    def __init__(self, wanted: Sequence[Place]) -> None:
        """Raises ``OSError`` and leaves nothing where one of the folders cannot be made and bounded."""
        name = NAME + os.urandom(8).hex()
        self.folders: list[str] = []
        self._entrances: list[int] = []
        self._memory = -1
        self._memory_mib = 0
        try:
            for place in wanted:
                self._make(place, place.folder / name)
        except OSError as error:
            self.remove()
            where = f"{error.filename}: " if error.filename else ""
            raise OSError(error.errno, f"{where}{error.strerror}") from None

    def enter(self) -> None:
        for entrance in self._entrances:
            os.pwrite(entrance, b"0", 0)

    def bound_memory(self, memory_mib: int) -> None:
        """Of all programs in it together. Version 1 refuses less than is in use just now, and the old bound stays."""
        if memory_mib == self._memory_mib:
            return
        try:
            os.pwrite(self._memory, str((memory_mib + OWN_MIB) * MEBIBYTE).encode(), 0)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        else:
            self._memory_mib = memory_mib

    def remove(self) -> None:
        """From outside of it, once all in it have ended."""
        for descriptor in (*self._entrances, self._memory):
            if descriptor >= 0:
                os.close(descriptor)
        self._entrances, self._memory = [], -1
        remove_folders(self.folders)

    def _make(self, place: Place, folder: Path) -> None:
        folder.mkdir()
        self.folders.append(str(folder))
        if "pids" in place.controllers:
            (folder / "pids.max").write_text(str(MOST_TASKS))
        if "memory" in place.controllers:
            swap, none = _SWAP[place.version]
            if (folder / swap).exists():
                (folder / swap).write_text(none)
            self._memory = os.open(folder / _MEMORY_FILE[place.version], os.O_WRONLY | os.O_CLOEXEC)
        self._entrances.append(os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))


def make_group() -> ControlGroup:
    """Below this process's own groups. Raises ``OSError`` with the reason where that is not to be had."""
    own = Path("/proc/self")
    try:
        membership, mounts = (own / "cgroup").read_text(), (own / "mountinfo").read_text()
    except OSError as error:
        raise OSError(error.errno, f"{error.filename}: {error.strerror}") from None
    found = places(membership, mounts)
    for place in found:
        remove_stale(place.folder)
    return ControlGroup(found)


def remove_stale(folder: Path) -> None:
    """Take away the groups in ``folder`` that killed processes left. The kernel keeps a group that is in use."""
    for group in folder.glob(f"{NAME}*"):
        with contextlib.suppress(OSError):
            if time.time() - group.stat().st_mtime > STALE_SECONDS:
                group.rmdir()


def remove_folders(folders: Iterable[str]) -> None:
    """Waits a little for the processes in them to be gone; a folder that is in use then stays."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    for folder in folders:
        while _is_busy(folder) and time.monotonic() < deadline:
            time.sleep(0.01)


def _is_busy(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _own_folders(membership: str, mounts: str) -> dict[str, Path]:
    """The folder of this process's group by controller; version 2, which has one for all, stands under ""."""
    paths: dict[str, str] = {}
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        paths |= dict.fromkeys(controllers.split(","), path)
    folders: dict[str, Path] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        root, mounted_at = map(_unescaped, fields[3:5])
        for controller in [""] if kind[0] == "cgroup2" else kind[2].split(","):
            beneath = _beneath(paths.get(controller), root)
            if beneath is not None:
                folders.setdefault(controller, Path(mounted_at) / beneath)
    return folders


def _beneath(path: str | None, root: str) -> str | None:
    """``path`` as seen from the mounted part of the hierarchy; None where it lies outside."""
    root = root.rstrip("/")
    if path is None or ".." in path.split("/") or not (path == root or path.startswith(root + "/")):
        return None
    return path[len(root) :].strip("/")


def _unescaped(text: str) -> str:
    """The kernel writes blanks and backslashes of paths as octal numbers."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _handing_down(own: Path) -> Path:
    """The folder of version 2 whose children have both controllers: our own one, or its parent. Raises ``OSError``.

    A group that holds processes hands no controllers down, but the root; and beside our own group we stay only where
    that one does not bound us.
    """
    if _has_controllers(own):
        return own
    if not _has_controllers(own.parent):
        raise OSError(errno.EOPNOTSUPP, f"neither {own} nor the group above it hands down memory and pids")
    for name in ("memory.max", "pids.max"):
        if (own / name).read_text().strip() != "max":
            raise OSError(errno.EOPNOTSUPP, f"{own / name} bounds this process, and a group beside it would not")
    return own.parent


def _has_controllers(folder: Path) -> bool:
    try:
        return set(CONTROLLERS) <= set((folder / "cgroup.subtree_control").read_text().split())
    except OSError:
        return False
