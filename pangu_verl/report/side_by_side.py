"""Several runs on one page that needs no network, no script and no other file.

Invariant: the run folders are only read; the page is written where it is asked for, whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pangu_verl.errors import WrongUse
from pangu_verl.report.columns import Column, read_columns
from pangu_verl.report.line_figures import swatch
from pangu_verl.report.lines import compared_figures
from pangu_verl.report.outcome import banner, headline
from pangu_verl.report.rendering import render, write_page
from pangu_verl.report.statistics import METHOD
from pangu_verl.report.summary import summary_of
from pangu_verl.report.table import configuration, prompts_differ, sections


def build_side_by_side(run_dirs: Sequence[Path], page: Path) -> Path:
    """Write a page that compares runs, in the order given, and return its path.

    ``WrongUse`` names a folder that is no run or comes twice, and a page that cannot be placed.
    """
    _check_place(page)
    return write_page(page, _render(read_columns(run_dirs)))


def summarise_side_by_side(run_dirs: Sequence[Path]) -> list[dict[str, Any]]:
    """The summary of each run as plain JSON values, in the order given. Raises as the page does."""
    columns = read_columns(run_dirs, with_rewards=False)
    return [summary_of(column.folder, column.comparison).to_json() for column in columns]


def _check_place(page: Path) -> None:
    if page.is_dir():
        raise WrongUse(f"the page '{page}' is a folder; name a file, as in '{page / 'runs.html'}'")
    if not page.parent.is_dir():
        raise WrongUse(f"the page '{page}' needs the folder '{page.parent}', which does not exist; make it first")


def _render(columns: Sequence[Column]) -> str:
    return render(
        "side_by_side.html.jinja",
        ("page.css", "side_by_side.css"),
        title=f"{len(columns)} runs side by side",
        columns=columns,
        sections=sections(columns),
        configuration=configuration(columns),
        figures=compared_figures(columns),
        prompts_differ=prompts_differ(columns),
        method=METHOD,
        swatch=swatch,
        headline=headline,
        banner=banner,
    )
