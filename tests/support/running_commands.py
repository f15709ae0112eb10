"""Runs of the real command line that are still under way when a test looks at them."""

from __future__ import annotations

import json
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
    """A run under way, in a session of its own; a resumed one has its own metrics."""

    def __init__(self, folder: Path, *overrides: str, resume: bool = False) -> None:
        self.folder = folder
        self._metrics = folder / "metrics.jsonl"
        #: Until it has started, those of the session before are still there.
        self._earlier = self._metrics.stat().st_ino if self._metrics.exists() else None
        options = ["--model", "tiny", "--run-dir", str(folder), *(["--resume"] if resume else [])]
        command = [str(COMMAND), "quickstart", *options, *LONG, *overrides]
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
        self.reach(lambda: len(self.metrics()) >= step)

    def reach(self, condition: Callable[[], bool]) -> None:
        """Wait for it while the run goes on."""
        wait_for(lambda: self._is_over() or condition())
        assert not self._is_over(), self.process.stderr.read() if self.process.stderr else ""

    def metrics(self) -> list[dict[str, float]]:
        """Of each step that this session has ended so far."""
        if not self._metrics.exists() or self._metrics.stat().st_ino == self._earlier:
            return []
        whole_lines = self._metrics.read_text().split("\n")[:-1]
        return [json.loads(line)["data"] for line in whole_lines]

    def workers(self, name: str) -> list[psutil.Process]:
        """Ray's processes of a class, in the order in which they were started."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        found = [child for child in children if f"ray::{name}" in " ".join(child.cmdline())]
        return sorted(found, key=psutil.Process.create_time)

    def kill(self) -> None:
        """The driver and all that it started, at once, as when a machine goes down."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        self.started.kill()

    def _is_over(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=240)
        return self.process.returncode, errors

    def leftovers(self, timeout_s: float = 30) -> list[psutil.Process]:
        return self.started.outliving(timeout_s)
