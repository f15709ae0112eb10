"""Live progress of a run, read from what it writes: a bar on a terminal, plain lines elsewhere.

The trainer runs in other processes, so this watches the run's folder; it never changes it. It also keeps the peak of
the memory that the whole job holds (proportional set size, summed over this process and its descendants).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

_LOOK_EVERY_S = 1.0
_MEASURE_EVERY_S = 5.0


class RunProgress:
    """A context manager around a run: ``steps`` is how many it will take in all."""

    def __init__(self, folder: Path, steps: int, console: Console) -> None:
        self._metrics = folder / "metrics.jsonl"
        self._steps = steps
        self._console = console
        self._shown = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._first_step_began_s: float | None = None
        self._last_step_ended_s: float | None = None
        #: Peak of the job's memory in GiB.
        self.peak_pss_gib = 0.0

    def __enter__(self) -> RunProgress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def train_seconds(self) -> float:
        """Wall time from the end of the first validation to the end of the last training step seen, in seconds."""
        if self._first_step_began_s is None or self._last_step_ended_s is None:
            return 0.0
        return self._last_step_ended_s - self._first_step_began_s

    def _watch(self) -> None:
        show = self._bar() if self._console.is_terminal else self._lines
        measured_s = 0.0
        while True:
            last_look = self._ended.is_set()
            for step, metrics in self._new_steps():
                show(step, metrics)
            if time.monotonic() - measured_s > _MEASURE_EVERY_S:
                self.peak_pss_gib = max(self.peak_pss_gib, job_pss_gib())
                measured_s = time.monotonic()
            if last_look:
                break
            self._ended.wait(_LOOK_EVERY_S)
        if self._console.is_terminal:
            self._progress.stop()

    def _bar(self) -> Callable[[int, dict[str, float]], None]:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            # What others print goes where they send it, not above the bar.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        task = self._progress.add_task("starting, then validating before training", total=self._steps)
        self._progress.start()

        def show(step: int, metrics: dict[str, float]) -> None:
            self._progress.update(task, completed=step, description=describe(step, metrics))

        return show

    def _lines(self, step: int, metrics: dict[str, float]) -> None:
        self._console.print(f"step {step}/{self._steps}: {describe(step, metrics)}", highlight=False)

    def _new_steps(self) -> list[tuple[int, dict[str, float]]]:
        try:
            whole_lines = self._metrics.read_bytes().split(b"\n")[:-1]
        except OSError:
            return []
        fresh = [entry for line in whole_lines[self._shown :] if (entry := _parse_line(line)) is not None]
        self._shown = len(whole_lines)
        for _, metrics in fresh:
            self._note_time(metrics)
        return fresh

    def _note_time(self, metrics: dict[str, float]) -> None:
        now_s = time.monotonic()
        step_s = metrics.get("timing_s/step")
        if step_s is None:
            return
        # A validation after the step is reported with it, and is not training.
        ended_s = now_s - metrics.get("timing_s/testing", 0.0)
        if self._first_step_began_s is None:
            self._first_step_began_s = ended_s - step_s
        self._last_step_ended_s = ended_s


def _parse_line(line: bytes) -> tuple[int, dict[str, float]] | None:
    """Step and metrics of one line; a value that is no number (verl writes nan as null) is absent."""
    try:
        entry = json.loads(line)
        step, data = int(entry["step"]), entry["data"].items()
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return step, {key: value for key, value in data if isinstance(value, int | float)}


def describe(step: int, metrics: dict[str, float]) -> str:
    """One step in a few words."""
    parts = []
    if "critic/score/mean" in metrics:
        parts.append(f"reward {metrics['critic/score/mean']:.2f}")
    if "response_length/mean" in metrics:
        parts.append(f"{metrics['response_length/mean']:.0f} tokens")
    if "timing_s/step" in metrics:
        parts.append(f"{metrics['timing_s/step']:.1f} s")
    validations = [value for key, value in metrics.items() if key.startswith("val-core/") and "/reward/mean" in key]
    if validations:
        parts.append(f"validation {sum(validations) / len(validations):.2f}")
    return ", ".join(parts) or f"step {step}"


def job_pss_gib() -> float:
    """Memory of this process and all its descendants, shared pages counted once."""
    total_bytes = 0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            total_bytes += process.memory_full_info().pss
        except (psutil.Error, AttributeError):
            continue
    return total_bytes / 2**30
