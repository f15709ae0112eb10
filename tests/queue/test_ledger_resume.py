"""Going back to a checkpoint: what is open again, what is kept, what is purged, and which snapshots are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from queue_killing import kill_at_byte, kill_at_call, run_in_child
from queue_ledgers import (
    HandClock,
    admit,
    contents,
    finish,
    flip_page,
    group,
    lease,
    new_ledger,
    opened,
    payloads,
    states,
    trajectory,
)
from queue_resuming import resumed

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.entries import State
from pangu_verl.queue.ledger import Durability, Ledger
from pangu_verl.queue.ledger_resume import SetAside

Payloads = set[tuple[str, int]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "global_step_1"
    made.mkdir()
    return made


@pytest.fixture
def cut(path: Path, folder: Path) -> tuple[Path, Payloads]:
    """At step 1, version 1: g0 trained on, g1 whole, g2 half done since version 0, g3 waiting. Then a step more."""
    with new_ledger(path) as ledger:
        admit(ledger, range(4))
        finish(ledger, "g0", "g1")
        lease(ledger, "g2")
        ledger.complete("g2", 1, trajectory(), 0)
        ledger.consume(["g0"], 1)
        ledger.publish(1)
        ledger.reprioritise({"g3": 5.0})
        mark = ledger.snapshot(folder, 1)
        held = payloads(ledger)
        ledger.consume(["g1"], 2)
        ledger.publish(2)
        ledger.complete("g2", 0, trajectory(), 0)
        admit(ledger, [4])
        ledger.snapshot(path.parent, 2)
    return mark, held


def test_what_was_consumed_after_the_step_is_open_again(path: Path, cut: tuple[Path, Payloads]) -> None:
    mark, held = cut
    ledger, resumption = resumed(mark, path, 1, held)
    with ledger:
        assert states(ledger) == {"g1": State.READY, "g2": State.WAITING, "g3": State.WAITING}
        assert (resumption.reopened, resumption.ready, resumption.waiting) == (1, 1, 2)
        ledger.consume(["g1"], 2)


def test_what_was_consumed_up_to_the_step_stays_refused(path: Path, cut: tuple[Path, Payloads]) -> None:
    with resumed(cut[0], path, 1, cut[1])[0] as ledger, pytest.raises(RunFailed, match="'g0' was trained on"):
        ledger.admit([group(0)])


def test_versions_ages_and_priorities_are_those_of_the_cut(path: Path, cut: tuple[Path, Payloads]) -> None:
    ledger, resumption = resumed(cut[0], path, 1, cut[1])
    with ledger:
        half_done = contents(ledger)["g2"]
        assert (ledger.version, resumption.version) == (1, 1)
        assert (half_done.order, half_done.admitted_version, half_done.started_version) == (2, 0, 0)
        assert [each.key for each in ledger.waiting(9)] == ["g3", "g2"]


def test_a_group_that_ran_waits_with_what_it_had(path: Path, cut: tuple[Path, Payloads]) -> None:
    ledger, resumption = resumed(cut[0], path, 1, cut[1])
    with ledger:
        assert contents(ledger)["g2"].finished == {1: trajectory()}
        assert (resumption.interrupted, resumption.kept_trajectories, resumption.regenerated_trajectories) == (1, 3, 0)
        lease(ledger, "g2", version=1)
        assert contents(ledger)["g2"].started_version == 0
        assert ledger.complete("g2", 0, trajectory(1), 1)
        assert states(ledger)["g2"] is State.READY


def test_answers_of_before_the_resumption_are_stale(path: Path, cut: tuple[Path, Payloads]) -> None:
    with resumed(cut[0], path, 1, cut[1])[0] as ledger:
        lease(ledger, "g2", version=1)
        assert not ledger.complete("g2", 0, trajectory(), 0)


def test_kept_work_that_is_too_old_may_be_made_anew(path: Path, cut: tuple[Path, Payloads]) -> None:
    with resumed(cut[0], path, 1, cut[1])[0] as ledger:
        ledger.reopen(["g2"], "evicted")
        assert (contents(ledger)["g2"].finished, contents(ledger)["g2"].started_version) == ({}, None)
        with pytest.raises(RunFailed, match="'g2' is WAITING and cannot be reopened"):
            ledger.reopen(["g2"], "evicted")


def test_a_trajectory_without_payload_is_made_again(path: Path, cut: tuple[Path, Payloads]) -> None:
    ledger, resumption = resumed(cut[0], path, 1, cut[1] - {("g1", 0), ("g2", 1)})
    with ledger:
        groups = contents(ledger)
        assert (groups["g1"].state, groups["g1"].attempt, groups["g1"].started_version) == (State.WAITING, 1, 0)
        assert groups["g1"].finished == {1: trajectory()}
        assert (groups["g2"].finished, groups["g2"].started_version) == ({}, None)
        assert (resumption.regenerated_trajectories, resumption.kept_trajectories, resumption.ready) == (2, 1, 0)


def test_payloads_that_nothing_stands_for_are_named(path: Path, cut: tuple[Path, Payloads]) -> None:
    strangers = {("g0", 0), ("g2", 0), ("g9", 3)}
    ledger, resumption = resumed(cut[0], path, 1, cut[1] | strangers)
    ledger.close()
    assert resumption.orphans == tuple(sorted(strangers))


def test_groups_handed_out_ahead_of_the_checkpoint_are_open_again(path: Path, folder: Path) -> None:
    with new_ledger(path) as ledger:
        finish(ledger, *admit(ledger, [1, 2]))
        ledger.consume(["g1"], 1)
        ledger.consume(["g2"], 2)
        held = payloads(ledger) | {("g2", 0), ("g2", 1)}
        mark = ledger.snapshot(folder, 1)
    path.unlink()
    ledger, resumption = resumed(mark, path, 1, held)
    with ledger:
        assert states(ledger) == {"g2": State.READY}
        assert (resumption.reopened, resumption.set_aside, ledger.counters()["consumed"]) == (1, None, 1)


def test_the_live_ledger_is_put_aside_and_what_it_held_is_counted(path: Path, cut: tuple[Path, Payloads]) -> None:
    ledger, resumption = resumed(cut[0], path, 1, cut[1])
    ledger.close()
    aside = path.with_name("ledger.sqlite.superseded-1")
    expected = SetAside(path=aside, version=2, consumed_groups=1, admitted_groups=1, finished_trajectories=1)
    assert resumption.set_aside == expected
    with opened(aside) as former:
        assert states(former)["g4"] is State.WAITING


def test_a_second_resumption_puts_the_first_one_aside_too(path: Path, cut: tuple[Path, Payloads]) -> None:
    for number in (1, 2):
        ledger, resumption = resumed(cut[0], path, 1, cut[1])
        ledger.close()
        assert resumption.set_aside is not None
        assert resumption.set_aside.path.name == f"ledger.sqlite.superseded-{number}"
    assert resumption.set_aside.consumed_groups == 0


def test_a_resumption_needs_no_live_ledger(path: Path, cut: tuple[Path, Payloads]) -> None:
    path.unlink()
    ledger, resumption = resumed(cut[0], path, 1, cut[1])
    with ledger:
        assert (resumption.set_aside, resumption.ready) == (None, 1)


@pytest.mark.parametrize("content", [b"", b"no ledger at all", None])
def test_a_damaged_live_ledger_does_not_stand_in_the_way(
    path: Path, cut: tuple[Path, Payloads], content: bytes | None
) -> None:
    if content is None:
        flip_page(path, 1)
    else:
        path.write_bytes(content)
    damaged = path.read_bytes()
    ledger, resumption = resumed(cut[0], path, 1, cut[1])
    with ledger:
        assert (resumption.set_aside, states(ledger)["g1"]) == (None, State.READY)
    assert path.with_name("ledger.sqlite.superseded-1").read_bytes() == damaged


def test_the_log_of_a_lost_ledger_does_not_meet_the_restored_one(path: Path, cut: tuple[Path, Payloads]) -> None:
    path.unlink()
    path.with_name("ledger.sqlite-wal").write_bytes(b"left behind" * 1000)
    with resumed(cut[0], path, 1, cut[1])[0] as ledger:
        assert states(ledger)["g1"] is State.READY


def test_a_snapshot_of_another_run_is_refused_and_both_are_named(path: Path, cut: tuple[Path, Payloads]) -> None:
    before = path.read_bytes()
    with pytest.raises(WrongUse, match="is of run 'run-a', this is run 'run-b'"):
        resumed(cut[0], path, 1, cut[1], run_id="run-b")
    assert path.read_bytes() == before


def test_a_snapshot_of_another_step_is_refused_and_both_are_named(path: Path, cut: tuple[Path, Payloads]) -> None:
    with pytest.raises(WrongUse, match="is of step 1, the checkpoint is of step 4"):
        resumed(cut[0], path, 4, cut[1])


def test_a_live_ledger_of_another_run_is_not_put_aside(path: Path, cut: tuple[Path, Payloads], tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    Ledger.create(other, "run-b", Durability.NORMAL).close()
    with pytest.raises(WrongUse, match="belongs to run 'run-b', this is run 'run-a'"):
        resumed(cut[0], other, 1, cut[1])
    Ledger.open(other, "run-b", Durability.NORMAL).close()


def test_a_live_ledger_that_is_held_is_not_put_aside(path: Path, cut: tuple[Path, Payloads]) -> None:
    with opened(path) as holder:
        with pytest.raises(WrongUse, match="is held by process"):
            resumed(cut[0], path, 1, cut[1])
        admit(holder, [7])


def test_a_changed_byte_of_a_snapshot_is_refused_and_both_digests_named(path: Path, cut: tuple[Path, Payloads]) -> None:
    file = cut[0].with_name(json.loads(cut[0].read_text())["file"])
    whole = bytearray(file.read_bytes())
    whole[-9] ^= 1
    file.write_bytes(whole)
    before = path.read_bytes()
    with pytest.raises(RunFailed, match=r"is damaged: its SHA-256 is \w{16}\.\., ledger.json says \w{16}"):
        resumed(cut[0], path, 1, cut[1])
    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.glob("ledger.sqlite*")) == ["ledger.sqlite"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "cannot be read"), ("[]", "marks no snapshot"), ('{"format": 9}', "marks no"), ('{"format": 1}', "damaged")],
)
def test_a_mark_that_is_none_is_refused(path: Path, cut: tuple[Path, Payloads], text: str, said: str) -> None:
    cut[0].write_text(text)
    with pytest.raises((RunFailed, WrongUse), match=said):
        resumed(cut[0], path, 1, cut[1])


def test_a_checkpoint_without_snapshot_is_refused(path: Path, cut: tuple[Path, Payloads]) -> None:
    with pytest.raises(WrongUse, match="there is no snapshot"):
        resumed(cut[0].with_name("nothing.json"), path, 1, cut[1])
    cut[0].with_name(json.loads(cut[0].read_text())["file"]).unlink()
    with pytest.raises(RunFailed, match="which is not beside it"):
        resumed(cut[0], path, 1, cut[1])


@pytest.mark.parametrize(("kill", "stride"), [(kill_at_call, 1), (kill_at_byte, 7001)])
def test_killed_at_any_moment_of_a_resumption_the_next_one_succeeds(
    path: Path, cut: tuple[Path, Payloads], kill: Callable[[int], None], stride: int
) -> None:
    with opened(path) as ledger:
        live = states(ledger)
    restored = {"g1": State.READY, "g2": State.WAITING, "g3": State.WAITING}
    num_kills = 0
    for moment in range(0, 1_000_000, stride):

        def work(moment: int = moment) -> None:
            kill(moment)
            resumed(cut[0], path, 1, cut[1])

        killed_by = run_in_child(work)
        if path.exists():
            with opened(path, HandClock()) as ledger:
                assert states(ledger) in (live, restored)
        ledger, _ = resumed(cut[0], path, 1, cut[1])
        with ledger:
            assert states(ledger) == restored
        if not killed_by:
            break
        num_kills += 1
    assert num_kills >= 5
