"""The figures of a report, as SVG to be set into the page.

Invariants: a figure is ``None`` if its data is absent; colours are variables of the page's style, so that one drawing
serves light and dark, and series differ in marker or position as well as in colour; text stays text; a drawing is the
same, byte for byte, for the same data. matplotlib's global state is left as it was.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from pangu_verl.report.comparison import ValidationPoint
from pangu_verl.report.run_folder import RunFolder
from pangu_verl.report.wording import duration, number, percent, share

_WIDTH, _PANEL_HEIGHT = 5.0, 1.75
_MAX_BARS = 60
_MAX_MARKERS = 60
# stand-ins that matplotlib draws with; `_to_svg` puts the page's variables in their place
_INK, _GRID, _FIRST, _SECOND, _THIRD, _FOURTH = (f"#0102{index:02x}" for index in range(1, 7))
_VARIABLES = {
    _INK: "var(--ink)",
    _GRID: "var(--grid)",
    _FIRST: "var(--series-1)",
    _SECOND: "var(--series-2)",
    _THIRD: "var(--series-3)",
    _FOURTH: "var(--series-4)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9.0,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
}

Series = Sequence[tuple[int, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A drawing with its heading and, in ``caption``, what it shows in words."""

    title: str
    caption: str
    svg: Markup


@dataclass(frozen=True, kw_only=True, slots=True)
class _Panel:
    label: str
    draw: Callable[[Axes], None]


def all_figures(folder: RunFolder, points: Sequence[ValidationPoint]) -> list[Figure]:
    """The figures that this run has data for, in the order of the page."""
    drawn = (progress(folder, points), format_and_length(folder, points), health(folder), step_time(folder))
    return [figure for figure in drawn if figure is not None]


def progress(folder: RunFolder, points: Sequence[ValidationPoint]) -> Figure | None:
    """Training reward, and accuracy on validation rows with the interval of each point."""
    panels, words = [], []
    if rewards := folder.series("critic/score/mean"):
        panels.append(
            _Panel(label="training reward\n(mean score)", draw=lambda axes: _line(axes, rewards, _FIRST, "o"))
        )
        words.append(f"Mean training reward {_from_to(rewards, share)}.")
    judged = [point for point in points if point.accuracy is not None]
    if judged:
        panels.append(_Panel(label="validation accuracy\n(share of rows)", draw=lambda axes: _accuracy(axes, judged)))
        series = [(point.step, point.accuracy or 0.0) for point in judged]
        words.append(f"Validation accuracy {_from_to(series, share)}, over all rows judged at each step;")
        words.append("bars are the 95% interval of each validation.")
    elif scores := _mean_over_sources(folder.validation_scores()):
        label = "validation reward\n(verl's mean@k)"
        panels.append(_Panel(label=label, draw=lambda axes: _line(axes, scores, _SECOND, "s")))
        words.append(f"Validation reward, mean of the data sources, {_from_to(scores, share)}.")
    title = "Reward and validation accuracy" if judged else "Reward in training and validation"
    return _figure(title, words, panels)


def format_and_length(folder: RunFolder, points: Sequence[ValidationPoint]) -> Figure | None:
    """Whether a gain is one of form: unreadable and cut-off answers, and the length of answers."""
    panels, words = [], []
    failures = [(point.step, 100 * point.format_failures) for point in points if point.format_failures is not None]
    clipped = [(step, 100 * value) for step, value in folder.series("response_length/clip_ratio")]
    if failures or clipped:
        panels.append(_Panel(label="share of answers (%)", draw=lambda axes: _failures(axes, failures, clipped)))
    if failures:
        words.append(f"Format failures in validation {_from_to(failures, _percent_of_100)}.")
    if clipped:
        words.append(f"Training answers cut off at the length limit {_from_to(clipped, _percent_of_100)}.")
    lengths = folder.series("response_length/mean")
    validated = [(point.step, point.response_tokens) for point in points if point.response_tokens is not None]
    if lengths or validated:
        panels.append(_Panel(label="mean length\n(tokens)", draw=lambda axes: _lengths(axes, lengths, validated)))
        words.append(f"Mean answer length in tokens {_from_to(lengths or validated, number)}.")
    return _figure("Format failures and answer length", words, panels)


def health(folder: RunFolder) -> Figure | None:
    """Entropy and gradient norm: signs of a policy that collapses or blows up."""
    panels, words = [], []
    if entropy := folder.series("actor/entropy") or folder.series("actor/entropy_loss"):
        panels.append(_Panel(label="entropy\n(nats per token)", draw=lambda axes: _line(axes, entropy, _FIRST, "o")))
        words.append(f"Entropy of the policy {_from_to(entropy, share)}.")
    if norms := folder.series("actor/grad_norm"):
        panels.append(_Panel(label="gradient norm", draw=lambda axes: _line(axes, norms, _SECOND, "s")))
        words.append(f"Gradient norm {_from_to(norms, share)}.")
    title = "Entropy and gradient norm" if entropy else "Gradient norm"
    return _figure(title, words, panels)


def step_time(folder: RunFolder) -> Figure | None:
    """Where the seconds of a step went. Where parts overlap and exceed the step, "other" is 0."""
    keys = ("timing_s/gen", "timing_s/update_actor", "timing_s/update_weights")
    rows: list[tuple[int, list[float]]] = []
    for step, data in folder.metrics.items():
        if "timing_s/step" in data or "timing_s/gen" in data:
            parts = [max(data.get(key, 0.0), 0.0) for key in keys]
            rows.append((step, [*parts, max(data.get("timing_s/step", 0.0) - sum(parts), 0.0)]))
    if not rows:
        return None
    totals = [sum(parts[index] for _, parts in rows) for index in range(4)]
    whole = sum(totals) or 1.0
    names = ("generation", "update", "weight transfer", "other")
    split = ", ".join(f"{name} {percent(total / whole)}" for name, total in zip(names, totals, strict=True))
    words = [f"Of {duration(whole)} in {len(rows)} steps: {split}. Other holds log-probabilities, rewards and saving."]
    if testing := folder.series("timing_s/testing"):
        words.append(f"Validation took {duration(sum(value for _, value in testing))} more, not drawn.")
    size = -(-len(rows) // _MAX_BARS)
    if size > 1:
        words.append(f"Each bar is the mean of {size} steps.")
    bars = _binned(rows, size)
    panel = _Panel(label="time per step (s)", draw=lambda axes: _stack(axes, bars, names, 0.8 * size))
    return _figure("Time per step", words, [panel], height=2.9)


def _binned(rows: Sequence[tuple[int, list[float]]], size: int) -> list[tuple[float, list[float]]]:
    chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [
        (
            sum(step for step, _ in chunk) / len(chunk),
            [sum(parts[index] for _, parts in chunk) / len(chunk) for index in range(4)],
        )
        for chunk in chunks
    ]


def _mean_over_sources(scores: dict[str, list[tuple[int, float]]]) -> list[tuple[int, float]]:
    by_step: dict[int, list[float]] = {}
    for series in scores.values():
        for step, value in series:
            by_step.setdefault(step, []).append(value)
    return sorted((step, sum(values) / len(values)) for step, values in by_step.items())


def _line(axes: Axes, series: Series, colour: str, marker: str, label: str | None = None) -> None:
    shown = marker if len(series) <= _MAX_MARKERS else ""
    axes.plot(*zip(*series, strict=True), color=colour, marker=shown, label=label)


def _accuracy(axes: Axes, points: Sequence[ValidationPoint]) -> None:
    steps = [point.step for point in points]
    values = [point.accuracy or 0.0 for point in points]
    below = [max(value - (point.low or 0.0), 0.0) for value, point in zip(values, points, strict=True)]
    above = [max((point.high or 0.0) - value, 0.0) for value, point in zip(values, points, strict=True)]
    axes.errorbar(steps, values, yerr=[below, above], color=_SECOND, marker="s", capsize=2.5, elinewidth=1.0)


def _failures(axes: Axes, failures: Series, clipped: Series) -> None:
    if failures:
        _line(axes, failures, _SECOND, "s", "format failures (validation)")
    if clipped:
        _line(axes, clipped, _FIRST, "o", "cut off at the limit (training)")
    _from_zero(axes, [*failures, *clipped])
    _legend(axes, columns=1)


def _lengths(axes: Axes, lengths: Series, validated: Series) -> None:
    if lengths:
        _line(axes, lengths, _FIRST, "o", "training")
    if validated:
        _line(axes, validated, _SECOND, "s", "validation")
    _from_zero(axes, [*lengths, *validated])
    _legend(axes, columns=2)


def _stack(axes: Axes, bars: Sequence[tuple[float, list[float]]], names: Sequence[str], width: float) -> None:
    steps = [step for step, _ in bars]
    floor = [0.0] * len(bars)
    for index, (name, colour) in enumerate(zip(names, (_FIRST, _SECOND, _THIRD, _FOURTH), strict=True)):
        heights = [parts[index] for _, parts in bars]
        axes.bar(steps, heights, bottom=floor, width=width, color=colour, label=name)
        floor = [low + height for low, height in zip(floor, heights, strict=True)]
    _legend(axes, columns=4)


def _from_zero(axes: Axes, series: Series) -> None:
    axes.set_ylim(0.0, 1.08 * max(value for _, value in series) or 1.0)


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.01, 0.98), ncols=columns, handlelength=1.2, columnspacing=1.0, fontsize=8.5
    )


def _from_to(series: Series, write: Callable[[float], str]) -> str:
    (first, start), (last, end) = series[0], series[-1]
    if first == last:
        return f"was {write(start)} at step {first}"
    return f"went from {write(start)} at step {first} to {write(end)} at step {last}"


def _percent_of_100(value: float) -> str:
    return percent(value / 100)


def _figure(title: str, words: Sequence[str], panels: Sequence[_Panel], height: float = _PANEL_HEIGHT) -> Figure | None:
    if not panels:
        return None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc must not change the page
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": title})
        canvas = Canvas(figsize=(_WIDTH, height * len(panels) + 0.35), layout="constrained")
        rows = canvas.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(rows, panels, strict=True):
            panel.draw(axes)
            axes.set_ylabel(panel.label)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        rows[-1].set_xlabel("training step")
        canvas.align_ylabels(list(rows))
        caption = " ".join(words)
        return Figure(title=title, caption=caption, svg=_to_svg(canvas, f"{title}. {caption}"))


def _to_svg(canvas: Canvas, description: str) -> Markup:
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)  # names that every drawing repeats and nothing refers to
    for stand_in, variable in _VARIABLES.items():
        drawing = drawing.replace(stand_in, variable)
    drawing = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", drawing, count=1)
    drawing = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", drawing, count=1)
    return Markup(drawing.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1))
