"""What SQLite and the disk complain of, said as errors that a user can act on.

Invariant: an error that the disk, the file or another process caused becomes a ``PanguError``; whatever a mistake of
ours caused (a wrong statement, a broken constraint) passes through with its traceback.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from pangu_verl.errors import PanguError, RunFailed, WrongUse

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_HELD = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CLOSED_TO_US = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


class FaultsExplained:
    """Around all that touches the ledger at ``path``. A class, because a generator would cost more than a statement."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        explained: PanguError | None = None
        if isinstance(error, sqlite3.Error):
            explained = _explained(error, self._path)
        elif isinstance(error, OSError):
            explained = RunFailed(
                f"{self._path}: {error.strerror or error} ({free_text(self._path)}); nothing was changed; mend the "
                "disk, then try again"
            )
        if explained is not None:
            raise explained from error


def damaged(path: Path, finding: str) -> RunFailed:
    return RunFailed(
        f"the ledger {path} is damaged ({finding}); resume from the last checkpoint, whose snapshot replaces it"
    )


def holder_path(path: Path) -> Path:
    """The file beside a ledger that says which process holds it."""
    return path.with_name(f"{path.name}.holder")


def free_text(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free:,} bytes free"
    except OSError:
        return "free space unknown"


def _explained(error: sqlite3.Error, path: Path) -> PanguError | None:
    extended = getattr(error, "sqlite_errorcode", None)
    if extended is None:
        # No code of SQLite's: the module refused, for example a closed connection.
        return None
    code = extended & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return RunFailed(
            f"no room for the ledger {path} ({free_text(path)}); nothing of this change was kept and the ledger is "
            "unharmed; make room and go on, or resume from the last checkpoint"
        )
    if code == sqlite3.SQLITE_IOERR:
        return RunFailed(
            f"the disk refused the ledger {path} ({error.sqlite_errorname}, {free_text(path)}); nothing of this change "
            "was kept; mend the disk, then resume from the last checkpoint"
        )
    if code in _DAMAGED:
        return damaged(path, str(error))
    if code in _HELD:
        return WrongUse(f"the ledger {path} is held by {_holder(path)}; end that run, or give this one its own folder")
    if code in _CLOSED_TO_US:
        return WrongUse(f"the ledger {path} cannot be written ({error}); name a file in a local folder that you own")
    return None


def _holder(path: Path) -> str:
    try:
        return holder_path(path).read_text().strip() or "another process"
    except OSError:
        return "another process"
