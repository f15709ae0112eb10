"""A checkpoint that is killed at every step: what carries a name is whole, and is the former one or the new one."""

from __future__ import annotations

from pathlib import Path

from queue_killing import kill_at_call, run_in_child
from queue_ledgers import admit, new_ledger

from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.ledger_snapshot import digest_of, read_mark
from pangu_verl.simulate.soak.checkpoint import Payload, newest, write

PAYLOADS = {("g0", 1): Payload(tokens=7, attempt=2)}


def check_point(folder: Path, ledger: Ledger, step: int) -> None:
    write(folder, ledger, step=step, loader_position=step + 10, payloads=PAYLOADS)


def check_whole(folder: Path) -> int:
    """The step of the checkpoint that would be resumed from, of which every part is of the same cut."""
    found = newest(folder)
    assert found is not None
    mark = read_mark(found.ledger_mark)
    assert digest_of(found.ledger_mark.with_name(mark.file)) == mark.sha256
    assert (mark.step, found.loader_position, found.payloads) == (found.step, found.step + 10, PAYLOADS)
    return found.step


def test_before_the_first_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "checkpoints") is None


def test_a_checkpoint_is_read_as_it_was_written_and_replaces_the_former(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    with new_ledger(tmp_path / "ledger.sqlite") as ledger:
        for step in (4, 9, 14):
            check_point(folder, ledger, step)
    assert check_whole(folder) == 14
    assert [path.name for path in folder.iterdir()] == ["step-0000014"]


def test_killed_at_any_step_the_former_or_the_new_one_is_whole(tmp_path: Path) -> None:
    found: list[int] = []
    killed = -1
    while killed:
        place = tmp_path / f"{len(found)}"
        place.mkdir()
        folder = place / "checkpoints"
        with new_ledger(place / "ledger.sqlite") as ledger:
            admit(ledger, [0, 1])
            check_point(folder, ledger, 4)

        def work(place: Path = place, fatal: int = len(found)) -> None:
            with new_ledger(place / "other.sqlite") as ledger:
                kill_at_call(fatal)
                check_point(place / "checkpoints", ledger, 9)

        killed = run_in_child(work)
        found.append(check_whole(folder))
    assert found == sorted(found) and set(found) == {4, 9} and len(found) > 10


def test_what_a_kill_left_behind_is_cleared_by_the_next_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    (folder / "step-0000004.partial").mkdir(parents=True)
    (folder / "step-0000004.partial" / "ledger.partial").touch()
    assert newest(folder) is None
    with new_ledger(tmp_path / "ledger.sqlite") as ledger:
        check_point(folder, ledger, 4)
    assert check_whole(folder) == 4
