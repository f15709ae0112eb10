"""A figure of several lines over training steps, and the legend that stands beside it in the page.

Invariants: a line of one position looks the same in every figure; eight lines differ in colour and marker, more of them
in the dash of the line as well. Names stand in the page's legends and not in the drawings, so that they wrap, are
escaped and are never cut. What the lines are of is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

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

_MOST_POINTS = 120
_MOST_MARKERS = 12
_MARKERS = "os^DvXP<"
_DASHES = ("solid", "dashed", "dotted")
_HEIGHT = 2.6
# of the figure's breadth, between the points that several lines have at one step
_APART = 0.008


@dataclass(frozen=True, kw_only=True, slots=True)
class LegendEntry:
    """One line in a legend. ``position`` is its place among the lines, ``ends`` its first and last value."""

    position: int
    label: str
    ends: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedFigure:
    """A drawing, and which line is whose."""

    figure: Figure
    legend: tuple[LegendEntry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What is drawn for one name. ``bounds`` are low and high ends about the values, where there are any."""

    position: int
    label: str
    series: Series
    bounds: Series = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a figure is called and how its values are drawn and written."""

    title: str
    caption: str
    axis: str
    write: Callable[[float], str]
    from_zero: bool = False


def line_figure(look: Look, whole: Sequence[Line], positions: int, silent: Sequence[str] = ()) -> ComparedFigure | None:
    """A figure of lines that each have a point, or ``None`` without lines.

    ``positions`` counts all that could have a line; ``silent`` are the names of those that have none.
    """
    if not whole:
        return None
    size = _steps_in_a_point(whole)
    lines = [_averaged(line, size) for line in whole]
    legend = tuple(
        LegendEntry(position=line.position, label=line.label, ends=_ends(line.series, look.write)) for line in whole
    )
    figure = draw_figure(
        look.title,
        list(_words(look, size, silent)),
        [Panel(label=look.axis, draw=lambda axes: _draw(axes, lines, positions, look.from_zero))],
        height=_HEIGHT,
        details=" ".join(f"{entry.label}: {entry.ends}." for entry in legend),
    )
    return ComparedFigure(figure=figure, legend=legend) if figure else None


def swatch(position: int, salt: str) -> Markup:
    """A piece of a line, for legends. The same line drawn elsewhere on the page needs another ``salt``."""
    with page_style(f"{salt} {position}"):
        canvas = Canvas(figsize=(0.42, 0.14))
        style = _style(position) | {"markersize": 6.0, "markevery": [1]}
        canvas.add_artist(Line2D([0.0, 0.5, 1.0], [0.5] * 3, transform=canvas.transFigure, **style))
        return to_svg(canvas, "")


def _words(look: Look, size: int, silent: Sequence[str]) -> Iterator[str]:
    yield look.caption
    if size > 1:
        yield f"A point is the mean of up to {size} steps."
    if silent:
        yield f"No data from: {', '.join(silent)}."


def _ends(series: Series, write: Callable[[float], str]) -> str:
    (_, start), (_, end) = series[0], series[-1]
    return write(start) if len(series) == 1 else f"{write(start)} → {write(end)}"


def _steps_in_a_point(lines: Sequence[Line]) -> int:
    """The same for all lines, since a mean of more steps looks calmer than one of fewer."""
    first = min(line.series[0][0] for line in lines)
    last = max(line.series[-1][0] for line in lines)
    return max(1, -int(-(last - first + 1) // _MOST_POINTS))


def _averaged(line: Line, size: int) -> Line:
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


def _draw(axes: Axes, lines: Sequence[Line], positions: int, from_zero: bool) -> None:
    breadth = max(line.series[-1][0] for line in lines)
    for line in lines:
        if line.bounds:
            _draw_with_bounds(axes, line, shift=(line.position - (positions - 1) / 2) * _APART * breadth)
        else:
            every = -(-len(line.series) // _MOST_MARKERS)
            axes.plot(*zip(*line.series, strict=True), markevery=every, **_style(line.position))
    if from_zero:
        start_at_zero(axes, [point for line in lines for point in line.series])


def _draw_with_bounds(axes: Axes, line: Line, shift: float) -> None:
    steps = [step + shift for step, _ in line.series]
    values = [value for _, value in line.series]
    below = [value - low for value, (low, _) in zip(values, line.bounds, strict=True)]
    above = [high - value for value, (_, high) in zip(values, line.bounds, strict=True)]
    reach = [[max(length, 0.0) for length in side] for side in (below, above)]  # rounding may leave -1e-17
    axes.errorbar(steps, values, yerr=reach, capsize=2.0, elinewidth=0.9, **_style(line.position))


def _style(position: int) -> dict[str, Any]:
    return {
        "color": SERIES[position % len(SERIES)],
        "marker": _MARKERS[position % len(_MARKERS)],
        "linestyle": _DASHES[position // len(SERIES) % len(_DASHES)],
    }
