"""The command line: exit codes, one line for an error, JSON on the last line, an example in every help."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pangu_verl import cli, training
from pangu_verl.errors import PanguError, RunFailed, WrongUse
from pangu_verl.quickstart import job

COMMANDS = ("quickstart", "train", "report", "plugins", "doctor")
SUMMARY = {"run_dir": "runs/x", "accuracy_before": 0.25, "accuracy_after": None, "interval": [0.1, 0.2]}


def call(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments))


class Work:
    """Stands for what a command calls: keeps the arguments, then returns or raises."""

    def __init__(self, result: object) -> None:
        self.result = result
        self.calls: list[tuple[Any, ...]] = []
        self.options: dict[str, Any] = {}

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls.append(arguments)
        self.options = options
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], dict[str, Work]]:
    """Replace the work of every command."""

    def replace(result: object) -> dict[str, Work]:
        made = {command: Work(result) for command in COMMANDS}
        monkeypatch.setattr(job, "run", made["quickstart"])
        monkeypatch.setattr(training, "run", made["train"])
        monkeypatch.setattr("pangu_verl.report.build_report", made["report"])
        monkeypatch.setattr("pangu_verl.plugins.load_plugins", made["plugins"])
        monkeypatch.setattr("pangu_verl.doctor.examine", made["doctor"])
        return made

    return replace


def arguments_of(command: str) -> list[str]:
    return [command, "runs/x"] if command == "report" else [command]


# --- help and wrong use ----------------------------------------------------------------------------------------------


def test_every_command_is_tested_here() -> None:
    group = typer.main.get_command(cli.app)
    # The commands of rewards are tested in tests/rewards, simulate in tests/test_cli_simulate*.
    assert set(getattr(group, "commands", {})) == {*COMMANDS, "rewards", "simulate"}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_an_example(command: str) -> None:
    answer = call(command, "--help")
    assert answer.exit_code == 0
    assert f"Example: pangu-verl {command}" in " ".join(answer.stdout.split())


def test_the_help_lists_the_commands() -> None:
    answer = call("--help")
    assert answer.exit_code == 0
    assert all(command in answer.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["quickstart", "--no-such-option"],
        ["quickstart", "--seed", "x"],
        ["report"],
        ["train", "--dry"],
        ["doctor", "--target", "tpu"],
        ["plugins", "x"],
    ],
)
def test_wrong_use_leaves_with_two(arguments: Sequence[str]) -> None:
    answer = call(*arguments)
    assert answer.exit_code == 2
    assert "Traceback" not in answer.stderr


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("error", "code"), [(WrongUse("no file a"), 2), (RunFailed("no disk"), 1), (PanguError("x"), 1)]
)
def test_an_error_of_ours_is_one_line_and_its_exit_code(
    works: Callable[[object], Any], command: str, error: Exception, code: int
) -> None:
    works(error)
    answer = call(*arguments_of(command))
    assert answer.exit_code == code
    assert answer.stderr == f"pangu-verl: {error}\n"
    assert answer.stdout == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unforeseen_error_is_one_line_that_names_the_way_to_more(
    works: Callable[[object], Any], command: str
) -> None:
    works(ZeroDivisionError("first\n  second"))
    answer = call(*arguments_of(command))
    assert answer.exit_code == 1
    assert answer.stderr == "pangu-verl: ZeroDivisionError: first second (--debug shows where)\n"


def test_an_error_of_many_lines_is_put_on_one(works: Callable[[object], Any]) -> None:
    works(RunFailed("first\nsecond\t third"))
    assert call("quickstart").stderr == "pangu-verl: first second third\n"


def test_an_endless_error_is_cut(works: Callable[[object], Any]) -> None:
    works(ValueError("x" * 100_000))
    assert len(call("quickstart").stderr) < 700


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("error", [WrongUse("no file a"), ZeroDivisionError("division by zero")])
def test_debug_lets_the_error_through(works: Callable[[object], Any], command: str, error: Exception) -> None:
    works(error)
    answer = call(*arguments_of(command), "--debug")
    assert answer.exception is error
    assert answer.exit_code == 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_ctrl_c_is_one_line_that_says_how_to_go_on(
    works: Callable[[object], Any], command: str, debug: list[str]
) -> None:
    works(KeyboardInterrupt())
    answer = call(*arguments_of(command), *debug)
    assert answer.exit_code == 1
    assert answer.stderr == "pangu-verl: interrupted; go on with --resume and the same --run-dir\n"


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("pangu-verl")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_installed_command_shows_no_traceback(tmp_path: Path) -> None:
    answer = in_a_process("report", str(tmp_path / "missing"))
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stderr.startswith("pangu-verl: run folder ")


def test_the_installed_command_shows_the_traceback_on_demand(tmp_path: Path) -> None:
    answer = in_a_process("report", str(tmp_path / "missing"), "--debug")
    assert answer.returncode == 1
    assert answer.stderr.startswith("Traceback (most recent call last):")
    assert "WrongUse: run folder " in answer.stderr


# --- what is passed on -----------------------------------------------------------------------------------------------


def test_the_quickstart_gets_its_options_and_overrides(works: Callable[[object], dict[str, Work]]) -> None:
    work = works(SUMMARY)["quickstart"]
    options = ["--model", "tiny", "--seed", "3", "--run-dir", "here", "--resume", "--json"]
    call("quickstart", "trainer.test_freq=4", *options, "+a.b={c: 1}", "~d")
    ((order, _),) = work.calls
    assert order == job.Job(
        folder=Path("here"),
        model="tiny",
        seed=3,
        resume=True,
        overrides=["trainer.test_freq=4", "+a.b={c: 1}", "~d"],
    )


def test_training_gets_its_options_and_overrides(works: Callable[[object], dict[str, Work]]) -> None:
    work = works(None)["train"]
    answer = call("train", "--config", "quickstart", "--run-dir", "here", "data.seed=1")
    assert answer.exit_code == 0
    assert work.calls == [(Path("here"), "quickstart", ["data.seed=1"])]
    assert work.options == {"resume": False}


def test_json_is_the_last_line_of_training(works: Callable[[object], Any]) -> None:
    works({"run_dir": "runs/x"})
    assert json.loads(call("train", "--json").stdout.splitlines()[-1]) == {"run_dir": "runs/x"}


def test_a_run_without_a_folder_gets_one_by_time(works: Callable[[object], dict[str, Work]]) -> None:
    work = works(None)["train"]
    call("train")
    folder, config_name, _ = work.calls[0]
    assert folder.parent == Path("runs")
    assert folder.name.endswith("-train")
    assert config_name == "ppo"


# --- what is printed -------------------------------------------------------------------------------------------------


def test_json_is_the_last_line_of_the_quickstart(works: Callable[[object], Any]) -> None:
    works(SUMMARY)
    answer = call("quickstart", "--json")
    assert answer.exit_code == 0
    assert json.loads(answer.stdout.splitlines()[-1]) == SUMMARY


def test_without_json_the_quickstart_says_what_came_of_it(works: Callable[[object], Any], tmp_path: Path) -> None:
    (tmp_path / "validation").mkdir()
    (tmp_path / "run.json").write_text('{"name": "quickstart"}')
    for step, passed in ((0, False), (4, True)):
        row = {"input": "q", "output": "a", "passed": passed}
        (tmp_path / "validation" / f"{step}.jsonl").write_text(json.dumps(row) + "\n")
    works({"run_dir": str(tmp_path)})
    lines = call("quickstart").stdout.splitlines()
    assert lines[0].startswith("Accuracy on 1 unseen validation row went from 0.00 to 1.00: +100 points")
    assert lines[1:] == [f"report: {tmp_path / 'report.html'}"]


def test_the_report_is_built_and_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    answer = call("report", str(tmp_path))
    assert (answer.exit_code, answer.stdout) == (0, f"report: {tmp_path / 'report.html'}\n")
    assert (tmp_path / "report.html").is_file()


def test_json_is_the_last_line_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"train_seconds": 3.5}')
    found = json.loads(call("report", str(tmp_path), "--json").stdout.splitlines()[-1])
    assert (found["train_seconds"], found["report"]) == (3.5, str(tmp_path / "report.html"))


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "failure"),
    [
        (None, "finished", None),
        (KeyboardInterrupt(), "interrupted", None),
        (RunFailed("no disk"), "failed", "no disk"),
        (ZeroDivisionError("division by zero"), "failed", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_training_run_records_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | None, status: str, failure: str | None
) -> None:
    from omegaconf import OmegaConf

    from pangu_verl.integrations.verl import configuration, launch

    def train(*_: Any, quiet: bool) -> None:
        assert not quiet
        if error is not None:
            raise error

    config = OmegaConf.create({"actor_rollout_ref": {"model": {"path": "m"}}})
    monkeypatch.setattr(configuration, "compose", lambda *_: config)
    monkeypatch.setattr(launch, "place_in_run_folder", lambda *_: None)
    monkeypatch.setattr(launch, "train", train)
    if error is None:
        training.run(tmp_path, "ppo", [], resume=False)
    else:
        with pytest.raises(type(error)):
            training.run(tmp_path, "ppo", [], resume=False)
    found = json.loads((tmp_path / "run.json").read_text())
    assert (found["name"], found["model"], found["status"], found["failure"]) == ("ppo", "m", status, failure)
