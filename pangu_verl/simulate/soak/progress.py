"""How far a soak is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pangu_verl.simulate.soak.running import OnProgress, SoakProgress

_LINE_EVERY_S = 10.0


@contextmanager
def soak_progress(console: Console, samples: int, kills: int) -> Iterator[OnProgress]:
    """Gives what ``run_soak`` is to call; a resumption sets the bar back to its checkpoint."""
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as bar:
            task = bar.add_task(_described(0, kills), total=samples)
            yield lambda news: bar.update(task, completed=news.samples, description=_described(news.kills, kills))
        return
    yield _Lines(console, samples, kills).show


class _Lines:
    def __init__(self, console: Console, samples: int, kills: int) -> None:
        self._console = console
        self._samples = samples
        self._kills = kills
        self._shown_s = time.monotonic()

    def show(self, news: SoakProgress) -> None:
        if time.monotonic() - self._shown_s >= _LINE_EVERY_S:
            self._shown_s = time.monotonic()
            self._console.print(
                f"{news.samples}/{self._samples} samples, {_described(news.kills, self._kills)}", highlight=False
            )


def _described(made: int, asked: int) -> str:
    return f"kill {made}/{asked}"
