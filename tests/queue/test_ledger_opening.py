"""What is refused when a ledger is created or opened, and what the refusal says."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from queue_killing import kill_self, run_in_child
from queue_ledgers import RUN, admit, new_ledger, opened, states

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.ledger import Durability, Ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_a_ledger_of_another_run_is_refused_and_both_are_named(path: Path) -> None:
    new_ledger(path).close()
    with pytest.raises(WrongUse, match="belongs to run 'run-a', this is run 'run-b'"):
        Ledger.open(path, "run-b", Durability.NORMAL)


def test_a_ledger_of_another_format_is_refused(path: Path) -> None:
    new_ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(WrongUse, match="has format 7, this version reads format 1"):
        opened(path)


def test_another_database_is_no_ledger(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE anything (value)")
    connection.close()
    with pytest.raises(RunFailed, match="is no ledger"):
        opened(path)


@pytest.mark.parametrize("content", [b"", b"time,key\n" * 1000, b"\x00" * 8192])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(RunFailed, match=r"no ledger|damaged"):
        opened(path)
    assert path.read_bytes() == content


def test_a_missing_ledger_is_not_made_by_opening(path: Path) -> None:
    with pytest.raises(WrongUse, match="there is no ledger"):
        opened(path)
    assert not path.exists()


def test_creating_does_not_replace_a_file(path: Path) -> None:
    new_ledger(path).close()
    with pytest.raises(WrongUse, match="is there already"):
        new_ledger(path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="the folder of the ledger"):
        new_ledger(tmp_path / "nowhere" / "ledger.sqlite")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody may write")
def test_a_folder_in_which_nobody_may_write_is_refused() -> None:
    with pytest.raises(WrongUse, match="cannot be written"):
        new_ledger(Path("/proc/ledger.sqlite"))


def test_a_network_file_system_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [
        SimpleNamespace(mountpoint="/", fstype="ext4"),
        SimpleNamespace(mountpoint=str(path.parent), fstype="nfs4"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    with pytest.raises(WrongUse, match=r"network file system \(nfs4\)"):
        new_ledger(path)


def test_an_old_sqlite_is_refused_with_both_versions(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    with pytest.raises(WrongUse, match=r"need SQLite 3\.38\.0 or later"):
        new_ledger(path)


def test_a_second_writer_in_this_process_is_refused(path: Path) -> None:
    with new_ledger(path) as first:
        with pytest.raises(WrongUse, match="is held by process"):
            opened(path)
        admit(first, [1])


def test_a_writer_in_another_process_is_refused_and_the_holder_named(path: Path) -> None:
    answers = path.with_name("answers")

    def second_writer() -> None:
        with pytest.raises(WrongUse) as refused:
            opened(path)
        answers.write_text(str(refused.value))

    with new_ledger(path) as first:
        held = path.with_name("ledger.sqlite.holder").read_text().strip()
        assert run_in_child(second_writer) == 0
        assert f"is held by {held};" in answers.read_text()
        admit(first, [1])
        assert list(states(first)) == ["g1"]


def test_a_killed_process_lets_go_of_its_ledger(path: Path) -> None:
    def holder() -> None:
        ledger = new_ledger(path)
        admit(ledger, [1])
        kill_self()

    assert run_in_child(holder) == 9
    with opened(path) as ledger:
        assert list(states(ledger)) == ["g1"]


def test_a_ledger_may_be_used_by_another_thread_than_its_opener(path: Path) -> None:
    with new_ledger(path) as ledger:
        worker = threading.Thread(target=admit, args=(ledger, [1]))
        worker.start()
        worker.join()
        assert list(states(ledger)) == ["g1"]


@pytest.mark.parametrize(("durability", "level"), [(Durability.FULL, 2), (Durability.NORMAL, 1)])
def test_durability_decides_when_sqlite_waits_for_the_disk(path: Path, durability: Durability, level: int) -> None:
    with Ledger.create(path, RUN, durability) as ledger:
        assert ledger._store.rows("PRAGMA synchronous") == [(level,)]
        assert ledger._store.rows("PRAGMA journal_mode") == [("wal",)]


def test_an_unknown_durability_is_refused(path: Path) -> None:
    new_ledger(path).close()
    with pytest.raises(ValueError, match="OFF"):
        Ledger.open(path, RUN, "OFF")  # type: ignore[arg-type]
