"""How far a search for advice is: a bar for each stage on a terminal, a plain line for each elsewhere.

How many stages there will be is not known beforehand: a search goes where its results lead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pangu_verl.simulate.trial_pool import OnProgress


@contextmanager
def search_progress(console: Console) -> Iterator[OnProgress]:
    """Gives what ``recommend`` is to call."""
    if not console.is_terminal:
        yield lambda stage, finished, total: _print_stage(console, stage, finished, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda stage, finished, total: bar.update(task, description=stage, completed=finished, total=total)


def _print_stage(console: Console, stage: str, finished: int, total: int) -> None:
    if finished == total:
        console.print(f"{stage}: {total} done", highlight=False)
