"""A full disk, a disk that refuses, a changed page and a cut log: refused or survived, with what to do."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from queue_killing import run_in_child
from queue_ledgers import (
    HandClock,
    admit,
    contents,
    copied,
    finish,
    flip_page,
    lease,
    new_ledger,
    opened,
    states,
    trajectory,
)

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import State
from pangu_verl.queue.ledger import Ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with new_ledger(path) as made:
        yield made


@contextmanager
def full_disk(ledger: Ledger) -> Iterator[None]:
    """SQLite's own limit of the file: it then says what it says of a full disk."""
    pages = ledger._store.rows("PRAGMA page_count")[0][0]
    ledger._store.rows(f"PRAGMA max_page_count = {pages}")
    yield
    ledger._store.rows("PRAGMA max_page_count = 1000000")


def test_a_full_disk_is_named_with_path_and_free_bytes(ledger: Ledger) -> None:
    with (
        full_disk(ledger),
        pytest.raises(RunFailed, match=r"no room for the ledger .*ledger.sqlite \([\d,]+ bytes free"),
    ):
        admit(ledger, range(1000))


def test_a_ledger_goes_on_unharmed_once_there_is_room(ledger: Ledger) -> None:
    admit(ledger, [0])
    before = contents(ledger), ledger.counters()
    with full_disk(ledger), pytest.raises(RunFailed):
        admit(ledger, range(1, 1000))
    assert (contents(ledger), ledger.counters()) == before
    admit(ledger, range(1, 1000))
    assert ledger.counts()[State.WAITING] == 1000


def test_a_full_disk_undoes_the_whole_of_a_joined_transaction(ledger: Ledger) -> None:
    admit(ledger, [0])

    def joined() -> None:
        with ledger.transaction():
            lease(ledger, "g0")
            admit(ledger, range(1, 1000))

    with full_disk(ledger), pytest.raises(RunFailed):
        joined()
    assert states(ledger) == {"g0": State.WAITING}


def test_a_write_that_the_disk_refuses_is_named_and_undone(path: Path) -> None:
    def limited() -> None:
        with new_ledger(path) as ledger:
            admit(ledger, [0])
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
            with pytest.raises(RunFailed, match=r"the disk refused the ledger .*SQLITE_IOERR_WRITE"):
                admit(ledger, range(1, 1000))
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            admit(ledger, range(1, 1000))

    assert run_in_child(limited) == 0
    with opened(path) as ledger:
        assert ledger.counts()[State.WAITING] == 1000


def test_a_disk_without_room_for_a_new_ledger_leaves_no_half_of_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refused)
        with pytest.raises(RunFailed, match="No space left on device"):
            new_ledger(path)
    assert not path.exists()
    new_ledger(path).close()


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger with something in every table."""
    path = tmp_path_factory.mktemp("settled") / "ledger.sqlite"
    with new_ledger(path) as ledger:
        keys = admit(ledger, range(300))
        finish(ledger, *keys[:100])
        ledger.consume(keys[:20], 1)
        ledger.snapshot(path.parent, 1)
        ledger.consume(keys[20:40], 2)
    return path


def test_no_changed_page_in_use_goes_unnoticed(settled: Path, tmp_path: Path) -> None:
    with opened(copied(settled, tmp_path / "whole.sqlite")) as ledger:
        whole = contents(ledger), ledger.counters()
        [(num_free,)] = ledger._store.rows("PRAGMA freelist_count")
    num_unnoticed = 0
    for number in range(settled.stat().st_size // 4096):
        path = copied(settled, tmp_path / "ledger.sqlite")
        flip_page(path, number)
        with suppress(RunFailed), opened(path) as ledger:
            assert (contents(ledger), ledger.counters()) == whole
            num_unnoticed += 1
    assert num_unnoticed <= num_free


def test_a_page_that_changes_while_the_ledger_is_open_is_reported_with_what_to_do(
    settled: Path, tmp_path: Path
) -> None:
    path = copied(settled, tmp_path / "ledger.sqlite")
    with opened(path) as ledger:
        for number in range(1, path.stat().st_size // 4096):
            flip_page(path, number)
        ledger._store.rows("PRAGMA shrink_memory")
        with pytest.raises(RunFailed, match=r"is damaged .*resume from the last checkpoint"):
            list(ledger.groups([State.WAITING]))


def test_a_file_that_was_cut_is_damaged(settled: Path, tmp_path: Path) -> None:
    path = copied(settled, tmp_path / "ledger.sqlite")
    path.write_bytes(path.read_bytes()[: 3 * 4096])
    with pytest.raises(RunFailed, match="damaged"):
        opened(path)


def test_a_log_that_was_cut_leaves_a_whole_commit(tmp_path: Path) -> None:
    """Whatever is missing at its end: what is left is the state after one of the commits, never between two."""
    source = tmp_path / "source.sqlite"
    with new_ledger(source) as ledger:
        commits = [contents(ledger)]
        for number in range(6):
            admit(ledger, [number])
            commits.append(contents(ledger))
            finish_one_member(ledger, f"g{number}", commits)
        left_behind = copied(source, tmp_path / "killed.sqlite")
    log = (tmp_path / "killed.sqlite-wal").read_bytes()
    found = []
    for length in [*range(0, len(log), 1030), len(log)]:
        path = copied(left_behind, tmp_path / "cut.sqlite")
        path.with_name("cut.sqlite-wal").write_bytes(log[:length])
        with opened(path) as ledger:
            found.append(commits.index(contents(ledger)))
    assert found == sorted(found)
    assert {found[0], found[-1]} == {0, len(commits) - 1}


def finish_one_member(ledger: Ledger, key: str, commits: list[object]) -> None:
    lease(ledger, key)
    commits.append(contents(ledger))
    ledger.complete(key, 0, trajectory(), 0)
    commits.append(contents(ledger))


def test_a_mistake_of_ours_keeps_its_own_error(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.sqlite", HandClock())
    ledger.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        admit(ledger, [1])
