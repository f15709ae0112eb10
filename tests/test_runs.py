"""A run's folder and record: replaced whole, never over what is there, resumed only as what it was."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from pangu_verl import runs
from pangu_verl.errors import WrongUse
from pangu_verl.runs import Run, new_run_folder


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def refusal(folder: Path, *, resume: bool = False, **identity: Any) -> str:
    with pytest.raises(WrongUse) as caught:
        Run(folder, name="test", resume=resume, identity=identity)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the record ------------------------------------------------------------------------------------------------------


def test_a_fresh_run_is_recorded_as_running(tmp_path: Path) -> None:
    run = Run(tmp_path / "a" / "b", name="test", resume=False, facts={"model": "m"}, identity={"seed": 3})
    found = record(run.folder)
    assert (found["name"], found["status"], found["failure"]) == ("test", "running", None)
    assert (found["model"], found["seed"]) == ("m", 3)
    assert run.folder.is_absolute()


def test_the_record_says_what_was_run_where_and_with_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/pangu-verl", "train", "a b"])
    found = record(Run(tmp_path / "run", name="test", resume=False).folder)
    assert found["command"] == ["pangu-verl", "train", "a b"]
    assert {"python", "pangu-verl", "verl", "torch"} <= found["versions"].keys()
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["memory_gib"] > 0
    assert found["machine"]["processor"]
    assert found["started_at"].endswith("+00:00")


def test_updates_add_facts_and_forget_the_failure(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", name="test", resume=False)
    run.update("failed", failure="no disk", steps=3)
    assert (record(run.folder)["status"], record(run.folder)["failure"]) == ("failed", "no disk")
    run.update("finished")
    found = record(run.folder)
    assert (found["status"], found["failure"], found["steps"]) == ("finished", None, 3)


def test_the_record_is_replaced_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", name="test", resume=False)
    inode = (run.folder / "run.json").stat().st_ino
    run.update("finished")
    assert (run.folder / "run.json").stat().st_ino != inode
    assert [path.name for path in run.folder.iterdir()] == ["run.json"]


def test_a_value_that_cannot_be_recorded_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", name="test", resume=False)
    with pytest.raises(TypeError):
        run.update("finished", strange=object())
    assert record(run.folder)["status"] == "running"


def full_disk(*_: Any, **__: Any) -> NoReturn:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_on_a_full_disk_the_error_that_ended_the_run_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: Any
) -> None:
    run = Run(tmp_path / "run", name="test", resume=False)
    monkeypatch.setattr(Path, "write_text", full_disk)
    run.update(status, failure="no space left")
    assert record(run.folder)["status"] == "running"


def test_on_a_full_disk_a_run_is_not_called_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "run", name="test", resume=False)
    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space left"):
        run.update("finished")


def test_time_is_counted_over_all_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    first = Run(tmp_path / "run", name="test", resume=False)
    now_s[0] += 30
    first.update("interrupted")
    assert record(first.folder)["total_seconds"] == 30
    now_s[0] += 1000
    second = Run(tmp_path / "run", name="test", resume=True)
    now_s[0] += 12
    second.update("finished")
    assert record(second.folder)["total_seconds"] == 42


# --- commit ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that takes the place of this package's."""
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "package" / "runs.py"))
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "runs.py").write_text("")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path / "package"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    answer = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def test_the_commit_of_a_checkout_is_recorded(package: Path) -> None:
    git(package, "init", "--quiet")
    git(package, "add", "runs.py")
    git(package, "commit", "--quiet", "--message", "one")
    assert runs._commit() == git(package, "rev-parse", "HEAD")
    assert len(runs._commit() or "") == 40


def test_a_checkout_without_a_commit_has_none(package: Path) -> None:
    git(package, "init", "--quiet")
    git(package, "add", "runs.py")
    assert runs._commit() is None


def test_a_wheel_installed_inside_somebody_elses_checkout_has_none(package: Path) -> None:
    git(package.parent, "init", "--quiet")
    (package.parent / "theirs.py").write_text("")
    git(package.parent, "add", "theirs.py")
    git(package.parent, "commit", "--quiet", "--message", "theirs")
    assert runs._commit() is None


def test_outside_a_checkout_there_is_none(package: Path) -> None:
    assert runs._commit() is None


def test_without_git_there_is_none(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(package))
    assert runs._commit() is None


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_fresh_run_may_go_into_an_empty_folder(tmp_path: Path) -> None:
    assert Run(tmp_path, name="test", resume=False).folder == tmp_path


def test_a_fresh_run_goes_into_no_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("")
    assert refusal(tmp_path) == (
        f"--run-dir {tmp_path} is not empty; name a new folder, or add --resume to go on with that run"
    )
    assert os.listdir(tmp_path) == [".hidden"]


@pytest.mark.parametrize("resume", [True, False])
def test_a_file_is_no_folder(tmp_path: Path, resume: bool) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert refusal(file, resume=resume) == f"--run-dir {file} is a file; name a folder"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file" / "run") == (
        f"--run-dir {tmp_path / 'file' / 'run'} cannot be made (Not a directory); name another folder"
    )


@pytest.mark.parametrize("name", ["missing", "."])
def test_there_has_to_be_a_run_to_resume(tmp_path: Path, name: str) -> None:
    text = refusal(tmp_path / name, resume=True)
    assert "holds no run.json; name the folder of an earlier run with --run-dir" in text
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"name": "test"'])
def test_a_damaged_record_is_not_resumed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    assert refusal(tmp_path, resume=True).startswith(f"--resume: {tmp_path / 'run.json'} is damaged (")
    assert (tmp_path / "run.json").read_bytes() == content


@pytest.mark.parametrize("content", ["[]", "null", '"x"', "3"])
def test_a_record_that_is_no_record_is_not_resumed(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    assert "holds no record of a run" in refusal(tmp_path, resume=True)


def test_a_resumed_run_keeps_its_beginning_and_its_facts(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(
        json.dumps({"name": "test", "started_at": "then", "steps": 3, "status": "failed"})
    )
    (tmp_path / "metrics.jsonl").write_text("kept")
    found = record(Run(tmp_path, name="test", resume=True).folder)
    assert (found["started_at"], found["steps"], found["status"]) == ("then", 3, "running")
    assert (tmp_path / "metrics.jsonl").read_text() == "kept"


def test_a_record_without_times_can_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"total_seconds": "long", "started_at": null}')
    run = Run(tmp_path, name="test", resume=True)
    assert record(run.folder)["started_at"]


@pytest.mark.parametrize(
    ("fact", "value", "complaint"),
    [
        ("name", "other", "was run with name 'other', not 'test'; name the same"),
        ("seed", 4, "was run with seed 4, not 3; name the same"),
    ],
)
def test_a_run_is_resumed_only_as_what_it_was(tmp_path: Path, fact: str, value: object, complaint: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"name": "test", "seed": 3, fact: value}))
    assert refusal(tmp_path, resume=True, seed=3).endswith(complaint)


def test_a_new_folder_is_named_by_time_and_name() -> None:
    assert new_run_folder("quickstart").parent == Path("runs")
    assert new_run_folder("quickstart").name.endswith("-quickstart")
