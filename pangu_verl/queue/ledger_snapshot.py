"""A ledger's snapshot in the folder of a checkpoint: a whole SQLite file, and a mark beside it that vouches for it.

Invariants: the mark names its file and the file's digest, and takes its place last, so that at every moment the folder
holds the former snapshot or the new one, never half of one. What is CONSUMED by the time of a snapshot no resumption
can need again: the live ledger then keeps only the keys of those groups, about 50 bytes each, to refuse them for good.
The folder may be on any file system that all machines see. Only the driver's process writes there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.entries import State
from pangu_verl.queue.ledger_faults import FaultsExplained
from pangu_verl.queue.ledger_schema import FORMAT
from pangu_verl.queue.ledger_store import Store, move_durably

MARK_NAME = "ledger.json"
_PARTIAL = "ledger.partial"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What a snapshot is of. ``step`` is counted as in ``Ledger.consume``; ``file`` lies beside the mark."""

    format: int
    run_id: str
    step: int
    version: int
    file: str
    sha256: str


def write(store: Store, folder: Path, step: int) -> Path:
    """Puts a snapshot into ``folder``, replacing an earlier one there, and returns the path of its mark.

    ``step`` is the last training step that the checkpoint's weights contain: what was consumed later than it is open
    again after a resumption. Raises RunFailed for a full disk, with the folder's former snapshot untouched.
    """
    if store.is_in_transaction:
        raise RunFailed(f"a snapshot of {store.path} was asked for inside a transaction; take it after the commit")
    if not folder.is_dir():
        raise WrongUse(f"the checkpoint folder {folder} is not there; make it before the snapshot")
    [(pruned,)] = store.rows("SELECT coalesce(max(step), -1) FROM spent")
    if step < pruned:
        raise RunFailed(
            f"a snapshot of step {step} after one of step {pruned}: what was consumed in between cannot be opened "
            "again; snapshots follow the steps"
        )
    _prune(store, step)
    partial = folder / _PARTIAL
    try:
        with FaultsExplained(partial):
            partial.unlink(missing_ok=True)
            _copy(store, partial)
            digest = digest_of(partial)
        facts: dict[str, Any] = dict(store.rows("SELECT name, value FROM facts"))
        file = f"ledger-{digest[:16]}.sqlite"
        move_durably(partial, folder / file)
        mark = Mark(
            format=FORMAT, run_id=facts["run_id"], step=step, version=facts["version"], file=file, sha256=digest
        )
        with FaultsExplained(partial):
            partial.write_text(json.dumps(asdict(mark), indent=2) + "\n")
        move_durably(partial, folder / MARK_NAME)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    for former in folder.glob("ledger-*.sqlite"):
        if former.name != file:
            former.unlink()
    return folder / MARK_NAME


def read_mark(path: Path) -> Mark:
    """Raises WrongUse where there is none or it is none of this format, RunFailed for a damaged one."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise WrongUse(f"there is no snapshot of a ledger at {path}; resume from a checkpoint that has one") from None
    except (OSError, ValueError) as error:
        raise RunFailed(
            f"the snapshot's mark {path} cannot be read ({error}); resume from another checkpoint"
        ) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise WrongUse(f"{path} marks no snapshot of format {FORMAT}; resume with the version that wrote it")
    try:
        return Mark(**found)
    except TypeError as error:
        raise RunFailed(f"the snapshot's mark {path} is damaged ({error}); resume from another checkpoint") from None


def digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _copy(store: Store, target: Path) -> None:
    # No locks: a file system that machines share need not have them, and nobody else knows this name.
    with contextlib.closing(sqlite3.connect(f"{target.resolve().as_uri()}?nolock=1", uri=True)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        store.connection.backup(connection)


def _prune(store: Store, step: int) -> None:
    """Of groups that no resumption can open again only the keys stay."""
    over = f"state = {State.ABANDONED:d} OR (state = {State.CONSUMED:d} AND consumed_step <= ?)"
    with store.transaction():
        store.change(f"INSERT INTO spent SELECT key, consumed_step FROM groups WHERE {over}", (step,))
        store.change(f"DELETE FROM members WHERE place IN (SELECT place FROM groups WHERE {over})", (step,))
        store.change(f"DELETE FROM groups WHERE {over}", (step,))
