"""How many rows a command has judged: a bar on a terminal, a plain line now and then elsewhere.

A training run's progress is read from its folder (``pangu_verl/progress.py``); here this process judges the rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LINE_EVERY_S = 10.0


@contextmanager
def row_progress(console: Console, num_rows: int, *, done: int = 0) -> Iterator[Callable[[], None]]:
    """Gives what is to be called after each row. ``done`` rows were judged before."""
    if console.is_terminal:
        columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as progress:
            task = progress.add_task("rows", total=num_rows, completed=done)
            yield lambda: progress.advance(task)
        return
    lines = _Lines(console, num_rows, done)
    yield lines.advance
    console.print(f"judged {lines.done}/{num_rows} rows", highlight=False)


class _Lines:
    def __init__(self, console: Console, num_rows: int, done: int) -> None:
        self.done = done
        self._console = console
        self._num_rows = num_rows
        self._shown_s = time.monotonic()

    def advance(self) -> None:
        self.done += 1
        if time.monotonic() - self._shown_s >= _LINE_EVERY_S:
            self._shown_s = time.monotonic()
            self._console.print(f"judged {self.done}/{self._num_rows} rows", highlight=False)
