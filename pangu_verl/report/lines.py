"""The figures of a page that sets runs side by side: one line a run, over training steps.

Invariants: a figure is left out if no run has data for it, and names the runs that have none; a run has the same look
in every figure; eight runs differ in colour and marker, more of them in the dash of the line as well. Names of runs
stand in the page's legends and not in the drawings, so that they wrap, are escaped and are never cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from pangu_verl.report.columns import Column
from pangu_verl.report.drawing import (
    SERIES,
    Figure,
    Panel,
    Series,
    draw_figure,
    page_style,
    start_at_zero,
    to_svg,
)
from pangu_verl.report.timing import WHOLE_STEP
from pangu_verl.report.wording import number, share

_MOST_POINTS = 120
_MOST_MARKERS = 12
_MARKERS = "os^DvXP<"
_DASHES = ("solid", "dashed", "dotted")
_HEIGHT = 2.6
# of the figure's breadth, between the points that several runs have at one step
_APART = 0.008


@dataclass(frozen=True, kw_only=True, slots=True)
class LegendEntry:
    """One run in a legend. ``position`` is its place among the runs, ``ends`` its first and last value."""

    position: int
    label: str
    ends: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedFigure:
    """A drawing, and which line is whose."""

    figure: Figure
    legend: tuple[LegendEntry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """What one run has for a figure. ``bounds`` are low and high ends about the values, where there are any."""

    position: int
    label: str
    series: Series
    bounds: Series = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """What a figure shows, and where a run keeps it."""

    title: str
    caption: str
    axis: str
    read: Callable[[Column], Series]
    write: Callable[[float], str]
    from_zero: bool = False
    bounds: Callable[[Column], Series] = lambda column: ()


def _metric(*keys: str) -> Callable[[Column], Series]:
    """The first of some metrics of verl that a run has."""
    return lambda column: next((series for key in keys if (series := column.folder.series(key))), [])


def _accuracy(column: Column) -> Series:
    return [(point.step, point.accuracy) for point in column.comparison.points if point.accuracy is not None]


def _accuracy_bounds(column: Column) -> Series:
    judged = [point for point in column.comparison.points if point.accuracy is not None]
    return [(point.low or 0.0, point.high or 0.0) for point in judged]


_KINDS = (
    _Kind(
        title="Training reward",
        caption="Mean score of the answers of a training step.",
        axis="mean score",
        read=_metric("critic/score/mean"),
        write=share,
    ),
    _Kind(
        title="Validation accuracy",
        caption="Share of the judged rows that were right, over all rows of a validation; bars are its 95% interval. "
        "Runs are drawn a little apart so that their bars can be told from each other.",
        axis="share of rows",
        read=_accuracy,
        write=share,
        bounds=_accuracy_bounds,
    ),
    _Kind(
        title="Response length",
        caption="Mean length of the answers of a training step.",
        axis="tokens",
        read=_metric("response_length/mean"),
        write=number,
        from_zero=True,
    ),
    _Kind(
        title="Entropy",
        caption="Entropy of the policy on the answers of a training step.",
        axis="nats per token",
        read=_metric("actor/entropy", "actor/entropy_loss"),
        write=share,
    ),
    _Kind(
        title="Step time",
        caption="Seconds of a training step with its saving, validation left out.",
        axis="seconds",
        read=_metric(WHOLE_STEP),
        write=lambda value: number(value, "s", 1),
        from_zero=True,
    ),
)


def compared_figures(columns: Sequence[Column]) -> list[ComparedFigure]:
    """The figures for which any run has data, in the order of the page."""
    return [figure for kind in _KINDS if (figure := _compared_figure(columns, kind)) is not None]


def swatch(position: int, salt: str) -> Markup:
    """A piece of a run's line, for legends. The same line drawn elsewhere on the page needs another ``salt``."""
    with page_style(f"{salt} {position}"):
        canvas = Canvas(figsize=(0.42, 0.14))
        look = _look(position) | {"markersize": 6.0, "markevery": [1]}
        canvas.add_artist(Line2D([0.0, 0.5, 1.0], [0.5] * 3, transform=canvas.transFigure, **look))
        return to_svg(canvas, "")


def _compared_figure(columns: Sequence[Column], kind: _Kind) -> ComparedFigure | None:
    whole = [
        _Line(position=position, label=column.label, series=series, bounds=kind.bounds(column))
        for position, column in enumerate(columns)
        if (series := kind.read(column))
    ]
    if not whole:
        return None
    size = _steps_in_a_point(whole)
    lines = [_averaged(line, size) for line in whole]
    legend = tuple(
        LegendEntry(position=line.position, label=line.label, ends=_ends(line.series, kind.write)) for line in whole
    )
    silent = [column.label for column in columns if not kind.read(column)]
    figure = draw_figure(
        kind.title,
        list(_words(kind, size, silent)),
        [Panel(label=kind.axis, draw=lambda axes: _draw(axes, lines, len(columns), kind.from_zero))],
        height=_HEIGHT,
        details=" ".join(f"{entry.label}: {entry.ends}." for entry in legend),
    )
    return ComparedFigure(figure=figure, legend=legend) if figure else None


def _words(kind: _Kind, size: int, silent: Sequence[str]) -> Iterator[str]:
    yield kind.caption
    if size > 1:
        yield f"A point is the mean of up to {size} steps."
    if silent:
        yield f"No data from: {', '.join(silent)}."


def _ends(series: Series, write: Callable[[float], str]) -> str:
    (_, start), (_, end) = series[0], series[-1]
    return write(start) if len(series) == 1 else f"{write(start)} → {write(end)}"


def _steps_in_a_point(lines: Sequence[_Line]) -> int:
    """The same for all runs, since a mean of more steps looks calmer than one of fewer."""
    first = min(line.series[0][0] for line in lines)
    last = max(line.series[-1][0] for line in lines)
    return max(1, -int(-(last - first + 1) // _MOST_POINTS))


def _averaged(line: _Line, size: int) -> _Line:
    """Means of ``size`` steps each; values with bounds stay as they are."""
    if size == 1 or line.bounds:
        return line
    chunks: dict[int, list[tuple[float, float]]] = {}
    for step, value in line.series:
        chunks.setdefault(int(step) // size, []).append((step, value))
    means = [
        (sum(step for step, _ in chunk) / len(chunk), sum(value for _, value in chunk) / len(chunk))
        for chunk in chunks.values()
    ]
    return replace(line, series=means)


def _draw(axes: Axes, lines: Sequence[_Line], runs: int, from_zero: bool) -> None:
    breadth = max(line.series[-1][0] for line in lines)
    for line in lines:
        if line.bounds:
            _draw_with_bounds(axes, line, shift=(line.position - (runs - 1) / 2) * _APART * breadth)
        else:
            every = -(-len(line.series) // _MOST_MARKERS)
            axes.plot(*zip(*line.series, strict=True), markevery=every, **_look(line.position))
    if from_zero:
        start_at_zero(axes, [point for line in lines for point in line.series])


def _draw_with_bounds(axes: Axes, line: _Line, shift: float) -> None:
    steps = [step + shift for step, _ in line.series]
    values = [value for _, value in line.series]
    below = [value - low for value, (low, _) in zip(values, line.bounds, strict=True)]
    above = [high - value for value, (_, high) in zip(values, line.bounds, strict=True)]
    reach = [[max(length, 0.0) for length in side] for side in (below, above)]  # rounding may leave -1e-17
    axes.errorbar(steps, values, yerr=reach, capsize=2.0, elinewidth=0.9, **_look(line.position))


def _look(position: int) -> dict[str, Any]:
    return {
        "color": SERIES[position % len(SERIES)],
        "marker": _MARKERS[position % len(_MARKERS)],
        "linestyle": _DASHES[position // len(SERIES) % len(_DASHES)],
    }
