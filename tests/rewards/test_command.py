"""The installed command itself: help, one line for an error, a kill in the middle, and nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_runs import COMMAND, SUPPORT, finish
from descendants import Descendants
from made_plugins import HEADER, REGISTER, MakePlugin
from made_plugins import make_plugin as make_plugin
from reward_rows import call, read_lines, row, timeless, write_lines

#: Waits at one row for as long as a file is not there.
WAITING = HEADER.replace(
    '        return Verdict(score=1.0',
    '        import asyncio, os\n'
    '        while row.id == os.environ.get("WAITS_AT") and not os.path.exists(os.environ["WAITS_FOR"]):\n'
    '            await asyncio.sleep(0.01)\n'
    '        return Verdict(score=1.0',
)  # fmt: skip


@pytest.mark.parametrize("command", ["score", "validate", "list"])
def test_the_help_shows_an_example_and_exit_codes(command: str) -> None:
    answer = call(command, "--help")
    assert answer.exit_code == 0
    text = " ".join(answer.stdout.split())
    assert f"Example: pangu-verl rewards {command}" in text
    assert command == "list" or "Exit code" in text


def test_an_error_is_one_line_and_debug_shows_more(tmp_path: Path) -> None:
    options = ["rewards", "score", "--input", str(tmp_path / "missing"), "--output", str(tmp_path / "v")]
    answer = finish(options, tmp_path)
    assert (answer.code, answer.output) == (2, "")
    assert answer.errors == f"pangu-verl: there is no file {tmp_path / 'missing'}; check the path\n"
    assert "Traceback" in finish([*options, "--debug"], tmp_path).errors


def test_judging_with_children_leaves_none_behind(tmp_path: Path) -> None:
    symbolic = row(response=r"\boxed{\frac{\sqrt{12}}{4}}", ground_truth=r"\frac{\sqrt{3}}{2}")
    path = write_lines(tmp_path / "rows.jsonl", [symbolic])
    options = ["rewards", "score", "--input", str(path), "--output", str(tmp_path / "verdicts.jsonl"), "--json"]
    answer = finish(options, tmp_path, PANGU_VERL_PLUGINS="mars")
    assert answer.code == 0, answer.errors
    assert answer.result["passed"] == 1
    assert answer.leftovers == []


def test_neither_verl_nor_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from pangu_verl.cli import app\n"
        "try: app(['rewards', 'score', '--domain', 'math', '--response', '7', '--ground-truth', '7'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('verl', 'ray', 'torch') if name in sys.modules])"
    )
    environment = {**os.environ, "PANGU_VERL_PLUGINS": "mars"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


@contextmanager
def waiting_run(arguments: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [str(COMMAND), *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        # A test run in the background of a shell would hand on that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        started = Descendants(process.pid)
        try:
            yield process
        finally:
            process.kill()
            started.kill()


def until_lines(path: Path, num_lines: int, process: subprocess.Popen[bytes]) -> None:
    while not path.exists() or path.read_bytes().count(b"\n") < num_lines:
        assert process.poll() is None
        time.sleep(0.02)


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_and_ends_as_if_never_killed(
    make_plugin: MakePlugin, tmp_path: Path, signal_number: int
) -> None:
    name = make_plugin("made", REGISTER, header=WAITING)
    rows = write_lines(tmp_path / "rows.jsonl", [row(id=str(number), domain="poems") for number in range(300)])
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path / 'site'}:{SUPPORT}",
        "PANGU_VERL_PLUGINS": name,
        "WAITS_AT": "200",
        "WAITS_FOR": str(tmp_path / "go"),
    }
    output = tmp_path / "verdicts.jsonl"
    arguments = ["rewards", "score", "--input", str(rows), "--output", str(output)]
    with waiting_run(arguments, environment) as process:
        until_lines(output, 200, process)
        process.send_signal(signal_number)
        assert process.wait(60) == (-signal.SIGKILL if signal_number == signal.SIGKILL else 1)
    kept = output.read_bytes()
    assert kept.count(b"\n") == 200
    (tmp_path / "go").touch()
    subprocess.run([str(COMMAND), *arguments, "--resume"], env=environment, check=True, capture_output=True)
    assert output.read_bytes().startswith(kept)
    whole = tmp_path / "whole.jsonl"
    uninterrupted = ["rewards", "score", "--input", str(rows), "--output", str(whole)]
    subprocess.run([str(COMMAND), *uninterrupted], env=environment, check=True, capture_output=True)
    assert timeless(read_lines(output)) == timeless(read_lines(whole))
