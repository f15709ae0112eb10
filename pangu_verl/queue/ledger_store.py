"""The file under a ledger: how it is created, checked and opened, and its transactions.

Invariants: one process at a time holds the file, and a killed one lets go of it; a transaction is kept whole or not at
all, also when an error inside it was caught by the caller. What a changed byte in the middle of a value would do is not
detected here (SQLite has no checksums of pages): a snapshot's digest does.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.ledger_faults import FaultsExplained, damaged, holder_path
from pangu_verl.queue.ledger_schema import APPLICATION_ID, FORMAT, TABLES

Row = tuple[Any, ...]

#: The first with all that is used here: STRICT, RETURNING and JSON functions in every build.
OLDEST_SQLITE = (3, 38, 0)
NETWORK_FILE_SYSTEMS = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.juicefs", "fuse.s3fs", "fuse.sshfs"),
    *("glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs", "wekafs"),
}


class Durability(StrEnum):
    """What a committed change survives: FULL a loss of power, NORMAL the end of the process (kill -9) alone."""

    FULL = "FULL"
    NORMAL = "NORMAL"


class Store:
    """A connection that holds its file, and transactions that join when they are nested."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self._faults = FaultsExplained(path)
        self._depth = 0
        self._is_doomed = False

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with self._faults:
            return self.connection.execute(statement, parameters).fetchall()

    def change(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Number of rows changed."""
        with self._faults:
            return self.connection.execute(statement, parameters).rowcount

    def change_many(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        with self._faults:
            self.connection.executemany(statement, parameters)

    @property
    def is_in_transaction(self) -> bool:
        return self._depth > 0

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside are one commit. An inner one joins the outer, and its error undoes the outer as well."""
        if self._depth == 0:
            self.change("BEGIN IMMEDIATE")
            self._is_doomed = False
        self._depth += 1
        try:
            yield
            if self._depth == 1:
                if self._is_doomed:
                    raise RunFailed(f"{self.path}: a verb of this transaction was refused, so nothing of it was kept")
                self.change("COMMIT")
        except BaseException:
            self._is_doomed = True
            # After some faults SQLite has rolled back by itself.
            if self._depth == 1 and self.connection.in_transaction:
                self.change("ROLLBACK")
            raise
        finally:
            self._depth -= 1

    def close(self) -> None:
        """Folds the write-ahead log into the file, which then stands alone, and lets go of it."""
        with self._faults:
            self.connection.close()
        holder_path(self.path).unlink(missing_ok=True)


def create(path: Path, run_id: str) -> None:
    """Writes an empty ledger to ``path``: the whole file or none. Raises WrongUse where there is a file already."""
    refuse_unfit_folder(path)
    if path.exists():
        raise WrongUse(f"{path} is there already; open it, resume from a checkpoint, or name another file")
    partial = path.with_name(f"{path.name}.creating")
    remove(partial)
    with FaultsExplained(path), contextlib.closing(_connection(partial, "rwc")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.executescript(f"BEGIN; {TABLES} COMMIT;")
        connection.executemany("INSERT INTO facts VALUES (?, ?)", [("run_id", run_id), ("version", 0)])
    move_durably(partial, path)


def open_store(path: Path, run_id: str, durability: Durability) -> Store:
    """Opens and holds the ledger at ``path``.

    Raises WrongUse for a missing file, one of another run or format, one that another holds or that cannot be
    written; RunFailed for a damaged one and for a file that is no ledger.
    """
    refuse_unfit_folder(path)
    if not path.is_file():
        raise WrongUse(f"there is no ledger at {path}; create one, or resume from a checkpoint")
    with FaultsExplained(path):
        connection = _connection(path, "rw")
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            _refuse_foreign(connection, path, run_id)
            _refuse_damaged(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {Durability(durability)}")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        holder_path(path).write_text(f"process {os.getpid()} on {platform.node()}\n")
    return Store(connection, path)


def refuse_unfit_folder(path: Path) -> None:
    """Locks and write-ahead logs need a local file system; what kind it is the mount table tells."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        needed = ".".join(map(str, OLDEST_SQLITE))
        raise WrongUse(f"ledgers need SQLite {needed} or later, this Python has {sqlite3.sqlite_version}; use another")
    folder = path.parent.resolve()
    if not folder.is_dir():
        raise WrongUse(f"the folder of the ledger, {folder}, is not there; make it first")
    mounts = [mount for mount in psutil.disk_partitions(all=True) if folder.is_relative_to(mount.mountpoint)]
    kind = max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else ""
    if kind in NETWORK_FILE_SYSTEMS:
        raise WrongUse(f"{folder} is on a network file system ({kind}); name a folder on this machine's own disk")


def move_durably(partial: Path, path: Path) -> None:
    """Gives a finished file its name, so that after a loss of power there is the whole of it or none."""
    with FaultsExplained(path):
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)


def remove(path: Path) -> None:
    """A database with its write-ahead log, as far as there is one."""
    for file in files_of(path):
        file.unlink(missing_ok=True)


def files_of(path: Path) -> list[Path]:
    """The write-ahead log first: a file without its log is whole, a log must never meet another file."""
    return [path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal", "")]


def put_aside(path: Path) -> Path:
    """Gives a ledger that no process holds another name, with its log; returns it."""
    aside = free_name(path)
    with FaultsExplained(path):
        for file, former in zip(files_of(path), files_of(aside), strict=True):
            if file.exists():
                file.replace(former)
    return aside


def free_name(path: Path) -> Path:
    """What a ledger is called that has been put aside."""
    number = 1
    while (found := path.with_name(f"{path.name}.superseded-{number}")).exists():
        number += 1
    return found


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _connection(path: Path, mode: str) -> sqlite3.Connection:
    # One thread at a time uses it, which need not be the one that opened it.
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=0, isolation_level=None, check_same_thread=False
    )


def _refuse_foreign(connection: sqlite3.Connection, path: Path, run_id: str) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise RunFailed(f"{path} is no ledger; name the file of this run's ledger, or resume from a checkpoint")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found != FORMAT:
        raise WrongUse(f"{path} has format {found}, this version reads format {FORMAT}; use the version that wrote it")
    owner = connection.execute("SELECT value FROM facts WHERE name = 'run_id'").fetchone()
    if owner is None:
        raise damaged(path, "it names no run")
    if owner[0] != run_id:
        raise WrongUse(f"{path} belongs to run {owner[0]!r}, this is run {run_id!r}; name this run's own ledger")


def _refuse_damaged(connection: sqlite3.Connection, path: Path) -> None:
    findings = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
    if findings != ["ok"]:
        raise damaged(path, "; ".join(" ".join(str(finding).split()) for finding in findings))
