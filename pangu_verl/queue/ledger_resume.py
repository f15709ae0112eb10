"""Going back to a checkpoint: the ledger returns to the cut at which its snapshot was taken.

Invariants: along one lineage of checkpoints every group is trained on at most once and none is lost. What was consumed
after the step is open again; a trajectory counts only where its payload is there; versions and ages are those of the
cut. The live ledger is put aside under another name, never deleted; until the restored one is finished it keeps its
name. Model, data loader and payloads must come from the same checkpoint: that is the caller's part.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.entries import State
from pangu_verl.queue.ledger import CONSUMED_OF_TASK, Clock, Ledger
from pangu_verl.queue.ledger_faults import FaultsExplained
from pangu_verl.queue.ledger_moves import count
from pangu_verl.queue.ledger_snapshot import Mark, digest_of, read_mark
from pangu_verl.queue.ledger_store import (
    Durability,
    Store,
    free_name,
    move_durably,
    open_store,
    put_aside,
    refuse_unfit_folder,
    remove,
)

_OPEN = f"state IN ({State.WAITING:d}, {State.RUNNING:d}, {State.READY:d})"
#: Of the groups that are still to be trained on: which trajectories the ledger holds.
_HELD = f"SELECT key, member FROM main.groups JOIN main.members USING (place) WHERE {_OPEN}"
_OF_GROUP = "SELECT 1 FROM main.members WHERE members.place = groups.place"


@dataclass(frozen=True, kw_only=True, slots=True)
class SetAside:
    """What the live ledger held beyond the cut, and where it lies now. The data loader brings its groups again."""

    path: Path
    version: int
    consumed_groups: int
    admitted_groups: int
    finished_trajectories: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumption:
    """What a resumption did.

    ``reopened``: groups consumed after the step, by the live ledger where there is one. ``interrupted``: groups that
    ran at the cut and wait again. ``regenerated_trajectories``: recorded at the cut, their payload is gone.
    ``kept_trajectories``, ``waiting`` and ``ready`` (groups): what the ledger now holds. ``orphans``: payloads (key,
    member) that no trajectory of an open group stands for; the caller purges them. ``set_aside`` is None where there
    was no live ledger, or one too damaged to be read.
    """

    step: int
    version: int
    reopened: int
    interrupted: int
    regenerated_trajectories: int
    kept_trajectories: int
    waiting: int
    ready: int
    orphans: tuple[tuple[str, int], ...]
    set_aside: SetAside | None


def restore(
    snapshot: Path,
    path: Path,
    run_id: str,
    step: int,
    payload_keys: Iterable[tuple[str, int]],
    *,
    durability: Durability,
    clock: Clock = time.monotonic,
) -> tuple[Ledger, Resumption]:
    """Opens at ``path`` the ledger that ``snapshot`` (the mark that ``Ledger.snapshot`` returned) stands for.

    ``payload_keys``: key and member of every payload that the checkpoint's TransferQueue holds. Raises WrongUse for a
    snapshot of another run or step and for a live ledger that is held or another run's; RunFailed for a damaged
    snapshot. ``path`` is then as it was.
    """
    refuse_unfit_folder(path)
    mark = read_mark(snapshot)
    _refuse_foreign(mark, snapshot, run_id, step)
    live = path if _is_readable(path, run_id, durability) else None
    aside = free_name(path)
    partial = path.with_name(f"{path.name}.restoring")
    _copy(mark, snapshot, partial)
    with contextlib.closing(open_store(partial, run_id, durability)) as store:
        resumption = _rewind(store, mark, payload_keys, live, aside)
    put_aside(path)
    move_durably(partial, path)
    return Ledger.open(path, run_id, durability, clock), resumption


def _refuse_foreign(mark: Mark, snapshot: Path, run_id: str, step: int) -> None:
    if mark.run_id != run_id:
        raise WrongUse(f"{snapshot} is of run {mark.run_id!r}, this is run {run_id!r}; resume from its own checkpoint")
    if mark.step != step:
        raise WrongUse(f"{snapshot} is of step {mark.step}, the checkpoint is of step {step}; do not mix checkpoints")


def _copy(mark: Mark, snapshot: Path, partial: Path) -> None:
    source = snapshot.with_name(mark.file)
    with FaultsExplained(partial):
        remove(partial)
        if not source.is_file():
            raise RunFailed(f"{snapshot} marks {mark.file}, which is not beside it; resume from another checkpoint")
        shutil.copyfile(source, partial)
        digest = digest_of(partial)
    if digest != mark.sha256:
        remove(partial)
        raise RunFailed(
            f"the snapshot {source} is damaged: its SHA-256 is {digest[:16]}.., {snapshot.name} says "
            f"{mark.sha256[:16]}..; resume from another checkpoint"
        )


def _is_readable(path: Path, run_id: str, durability: Durability) -> bool:
    """Whether there is a live ledger to compare with; folds its log into the file. A damaged one is none."""
    if not path.exists():
        return False
    try:
        open_store(path, run_id, durability).close()
    except RunFailed:
        return False
    return True


def _rewind(
    store: Store, mark: Mark, payload_keys: Iterable[tuple[str, int]], live: Path | None, aside: Path
) -> Resumption:
    if live is not None:
        store.change("ATTACH ? AS live", (f"{live.resolve().as_uri()}?immutable=1",))
    store.change("CREATE TEMP TABLE payloads (key TEXT, member INTEGER, PRIMARY KEY (key, member)) WITHOUT ROWID")
    with store.transaction():
        store.change_many("INSERT OR IGNORE INTO payloads VALUES (?, ?)", payload_keys)
        reopened = _reopen_consumed(store, mark.step)
        interrupted = _wait_again(store, f"state = {State.RUNNING:d}")
        regenerated = _drop_without_payload(store)
        set_aside = None if live is None else _beyond_the_cut(store, aside)
        open_groups: dict[int, int] = dict(
            store.rows(f"SELECT state, count(*) FROM groups WHERE {_OPEN} GROUP BY state")
        )
        [(kept,)] = store.rows(f"SELECT count(*) FROM ({_HELD})")
        orphans = store.rows(f"SELECT key, member FROM payloads EXCEPT {_HELD} ORDER BY key, member")
    return Resumption(
        step=mark.step,
        version=mark.version,
        reopened=reopened if set_aside is None else set_aside.consumed_groups,
        interrupted=interrupted,
        regenerated_trajectories=regenerated,
        kept_trajectories=kept,
        waiting=open_groups.get(State.WAITING, 0),
        ready=open_groups.get(State.READY, 0),
        orphans=tuple((key, member) for key, member in orphans),
        set_aside=set_aside,
    )


def _reopen_consumed(store: Store, step: int) -> int:
    """Groups that were handed to a training step which the checkpoint's weights do not contain."""
    after = f"state = {State.CONSUMED:d} AND consumed_step > ?"
    tasks = store.rows(f"SELECT task, count(*) FROM groups WHERE {after} GROUP BY task", (step,))
    reopened = store.change(f"UPDATE groups SET state = {State.READY:d}, consumed_step = NULL WHERE {after}", (step,))
    count(store, {"consumed": -reopened} | {f"{CONSUMED_OF_TASK}{task}": -groups for task, groups in tasks})
    return reopened


def _wait_again(store: Store, condition: str) -> int:
    """Answers of before the resumption are stale from here on. A group without trajectories has no age in versions."""
    changed = store.change(
        f"UPDATE groups SET state = {State.WAITING:d}, attempt = attempt + 1, "
        f"started_version = iif(EXISTS ({_OF_GROUP}), started_version, NULL) WHERE {condition}"
    )
    count(store, {"reopened: resumption": changed})
    return changed


def _drop_without_payload(store: Store) -> int:
    dropped = store.change(
        f"DELETE FROM members WHERE (place, member) IN (SELECT place, member FROM main.groups JOIN members USING "
        f"(place) WHERE {_OPEN} AND NOT EXISTS (SELECT 1 FROM payloads "
        "WHERE payloads.key = groups.key AND payloads.member = members.member))"
    )
    _wait_again(store, f"state = {State.READY:d} AND trajectories > (SELECT count(*) FROM ({_OF_GROUP}))")
    store.change(
        f"UPDATE groups SET started_version = NULL WHERE state = {State.WAITING:d} AND NOT EXISTS ({_OF_GROUP})"
    )
    return dropped


def _beyond_the_cut(store: Store, aside: Path) -> SetAside:
    """``live`` is attached. Its keys are compared, because it may descend from another checkpoint than the snapshot."""
    in_snapshot = "SELECT key FROM main.spent"
    [(consumed,)] = store.rows(
        f"SELECT count(*) FROM (SELECT key FROM live.groups WHERE state = {State.CONSUMED:d} UNION SELECT key FROM "
        f"live.spent WHERE step IS NOT NULL EXCEPT {in_snapshot} EXCEPT SELECT key FROM main.groups WHERE state = "
        f"{State.CONSUMED:d})"
    )
    [(admitted,)] = store.rows(
        "SELECT count(*) FROM (SELECT key FROM live.groups UNION SELECT key FROM live.spent "
        f"EXCEPT {in_snapshot} EXCEPT SELECT key FROM main.groups)"
    )
    [(finished,)] = store.rows(
        "SELECT coalesce((SELECT count FROM live.counters WHERE name = 'completed'), 0) "
        "- coalesce((SELECT count FROM main.counters WHERE name = 'completed'), 0)"
    )
    [(version,)] = store.rows("SELECT value FROM live.facts WHERE name = 'version'")
    return SetAside(
        path=aside,
        version=version,
        consumed_groups=consumed,
        admitted_groups=admitted,
        finished_trajectories=max(0, finished),
    )
