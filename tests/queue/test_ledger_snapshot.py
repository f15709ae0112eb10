"""Snapshots: whole or not there, marked, and what the live ledger forgets once one is taken."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from queue_killing import kill_at_byte, kill_at_call, run_in_child
from queue_ledgers import admit, contents, finish, group, lease, new_ledger, opened, payloads, trajectory
from queue_resuming import resumed

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.entries import State
from pangu_verl.queue.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with new_ledger(tmp_path / "ledger.sqlite") as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "global_step_3"
    made.mkdir()
    return made


def test_the_mark_says_what_the_snapshot_is_of(ledger: Ledger, folder: Path) -> None:
    ledger.publish(2)
    mark = json.loads(ledger.snapshot(folder, 3).read_text())
    content = (folder / mark["file"]).read_bytes()
    assert mark == {
        "format": 1,
        "run_id": "run-a",
        "step": 3,
        "version": 2,
        "file": mark["file"],
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def test_the_ledger_goes_on_after_a_snapshot(ledger: Ledger, folder: Path) -> None:
    admit(ledger, [1])
    ledger.snapshot(folder, 1)
    finish(ledger, "g1")
    ledger.consume(["g1"], 2)
    assert ledger.counts()[State.CONSUMED] == 1


def test_a_second_snapshot_replaces_the_first(ledger: Ledger, folder: Path) -> None:
    ledger.snapshot(folder, 1)
    admit(ledger, [1])
    mark = ledger.snapshot(folder, 2)
    assert sorted(file.name for file in folder.iterdir()) == sorted([json.loads(mark.read_text())["file"], mark.name])


def test_a_snapshot_inside_a_transaction_is_refused(ledger: Ledger, folder: Path) -> None:
    with pytest.raises(RunFailed, match="inside a transaction"), ledger.transaction():
        ledger.snapshot(folder, 1)
    assert list(folder.iterdir()) == []


def test_a_missing_checkpoint_folder_is_refused(ledger: Ledger, folder: Path) -> None:
    with pytest.raises(WrongUse, match="nowhere is not there"):
        ledger.snapshot(folder / "nowhere", 1)


def test_of_what_the_checkpoint_contains_only_the_keys_stay(ledger: Ledger, folder: Path) -> None:
    keys = admit(ledger, range(5))
    finish(ledger, *keys[:3])
    ledger.consume(keys[:2], 1)
    ledger.consume(keys[2:3], 2)
    ledger.abandon(keys[3:4], "tired")
    counts = ledger.counts()
    ledger.snapshot(folder, 1)
    assert list(contents(ledger)) == ["g2", "g4"]
    assert ledger.counts() == counts


def test_what_was_forgotten_is_still_refused_a_second_training(ledger: Ledger, folder: Path) -> None:
    finish(ledger, *admit(ledger, [1]))
    ledger.consume(["g1"], 1)
    ledger.snapshot(folder, 1)
    with pytest.raises(RunFailed, match="'g1' was trained on or given up before"):
        ledger.admit([group(1)])
    with pytest.raises(RunFailed, match=r"'g1' .* was trained on or given up before the last snapshot"):
        ledger.consume(["g1"], 2)
    assert not ledger.complete("g1", 0, trajectory(), 0)
    assert ledger.counters()["stale"] == 1


def test_a_ledger_does_not_grow_with_the_steps(ledger: Ledger, folder: Path) -> None:
    """But for the keys: 64 bytes a group are plenty for them."""
    sizes = []
    for step in range(1, 31):
        keys = admit(ledger, range(64 * step, 64 * step + 64))
        finish(ledger, *keys)
        ledger.consume(keys, step)
        mark = ledger.snapshot(folder, step)
        sizes.append((folder / json.loads(mark.read_text())["file"]).stat().st_size)
    assert sizes[-1] - sizes[4] < 25 * 64 * 64


def test_a_full_disk_leaves_the_former_snapshot_and_nothing_else(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.snapshot(folder, 1)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    admit(ledger, [1])

    def refused(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refused)
        with pytest.raises(RunFailed, match="No space left on device"):
            ledger.snapshot(folder, 2)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    ledger.snapshot(folder, 2)


@pytest.mark.parametrize(("kill", "stride"), [(kill_at_call, 1), (kill_at_byte, 4999)])
def test_killed_at_any_moment_of_a_snapshot_the_folder_holds_a_whole_one(
    tmp_path: Path, folder: Path, kill: Callable[[int], None], stride: int
) -> None:
    path = tmp_path / "ledger.sqlite"
    with new_ledger(path) as ledger:
        lease(ledger, *admit(ledger, [1, 2]))
        ledger.complete("g1", 0, trajectory(), 0)
        mark = ledger.snapshot(folder, 1)
        held = payloads(ledger)
        ledger.publish(1)
    steps_found = []
    for moment in range(0, 1_000_000, stride):

        def work(moment: int = moment) -> None:
            ledger = opened(path)
            kill(moment)
            ledger.snapshot(folder, 2)

        killed_by = run_in_child(work)
        steps_found.append(json.loads(mark.read_text())["step"])
        again, resumption = resumed(mark, tmp_path / f"resumed_{moment}.sqlite", steps_found[-1], held)
        again.close()
        assert (resumption.version, resumption.kept_trajectories) == (steps_found[-1] - 1, 1)
        if not killed_by:
            break
    assert steps_found[0] == 1
    assert steps_found[-1] == 2
    assert len(list(folder.iterdir())) == 2


def test_a_snapshot_of_an_earlier_step_than_the_last_one_is_refused(ledger: Ledger, folder: Path) -> None:
    """What was consumed in between has been pruned: from such a snapshot it could not be opened again."""
    [key] = admit(ledger, [0])
    finish(ledger, key)
    ledger.consume([key], 3)
    ledger.snapshot(folder, 3)
    with pytest.raises(RunFailed, match="a snapshot of step 1 after one of step 3"):
        ledger.snapshot(folder, 1)
