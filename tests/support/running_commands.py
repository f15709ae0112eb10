"""Runs of the real command line that are still under way when a test looks at them."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from command_runs import COMMAND, environment
from descendants import Descendants

LONG = (
    "trainer.total_training_steps=200",
    "trainer.test_freq=-1",
    "trainer.val_before_train=false",
    "trainer.save_freq=2",
)


def one_line(errors: str) -> str:
    """The only line on standard error that is not progress."""
    lines = [line for line in errors.splitlines() if line.startswith("pangu-verl:")]
    assert len(lines) == 1, errors
    assert "Traceback" not in errors
    return lines[0]


def wait_for(condition: Callable[[], bool], timeout_s: float = 240) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the run did not get there"
        time.sleep(0.2)


class Running:
    """A run under way, in a session of its own."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder = folder
        command = [str(COMMAND), "quickstart", "--model", "tiny", "--run-dir", str(folder), *LONG, *overrides]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            start_new_session=True,
            # A test run in the background of a shell would hand on that Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.started = Descendants(self.process.pid)

    def reach_step(self, step: int) -> None:
        metrics = self.folder / "metrics.jsonl"
        wait_for(lambda: self._is_over() or (metrics.exists() and metrics.read_text().count("\n") >= step))
        assert not self._is_over(), self.process.stderr.read() if self.process.stderr else ""

    def _is_over(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=240)
        return self.process.returncode, errors

    def leftovers(self, timeout_s: float = 30) -> list[psutil.Process]:
        return self.started.outliving(timeout_s)
