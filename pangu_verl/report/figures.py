"""The figures of a report: what each shows, and its words.

Invariants: a figure is ``None`` if its data is absent; series differ in marker or position as well as in colour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes

from pangu_verl.report.comparison import ValidationPoint
from pangu_verl.report.drawing import SERIES, Figure, Panel, Series, draw_figure, start_at_zero
from pangu_verl.report.run_folder import RunFolder
from pangu_verl.report.timing import STEP_PARTS, WHOLE_STEP
from pangu_verl.report.wording import duration, number, percent, share

_MAX_BARS = 60
_MAX_MARKERS = 60
_FIRST, _SECOND, _THIRD, _FOURTH = SERIES[:4]


def all_figures(folder: RunFolder, points: Sequence[ValidationPoint]) -> list[Figure]:
    """The figures that this run has data for, in the order of the page."""
    drawn = (progress(folder, points), format_and_length(folder, points), health(folder), step_time(folder))
    return [figure for figure in drawn if figure is not None]


def progress(folder: RunFolder, points: Sequence[ValidationPoint]) -> Figure | None:
    """Training reward, and accuracy on validation rows with the interval of each point."""
    panels, words = [], []
    if rewards := folder.series("critic/score/mean"):
        panels.append(Panel(label="training reward\n(mean score)", draw=lambda axes: _line(axes, rewards, _FIRST, "o")))
        words.append(f"Mean training reward {_from_to(rewards, share)}.")
    judged = [point for point in points if point.accuracy is not None]
    if judged:
        panels.append(Panel(label="validation accuracy\n(share of rows)", draw=lambda axes: _accuracy(axes, judged)))
        series = [(point.step, point.accuracy or 0.0) for point in judged]
        words.append(f"Validation accuracy {_from_to(series, share)}, over all rows judged at each step;")
        words.append("bars are the 95% interval of each validation.")
    elif scores := _mean_over_sources(folder.validation_scores()):
        label = "validation reward\n(verl's mean@k)"
        panels.append(Panel(label=label, draw=lambda axes: _line(axes, scores, _SECOND, "s")))
        words.append(f"Validation reward, mean of the data sources, {_from_to(scores, share)}.")
    title = "Reward and validation accuracy" if judged else "Reward in training and validation"
    return draw_figure(title, words, panels)


def format_and_length(folder: RunFolder, points: Sequence[ValidationPoint]) -> Figure | None:
    """Whether a gain is one of form: unreadable and cut-off answers, and the length of answers."""
    panels, words = [], []
    failures = [(point.step, 100 * point.format_failures) for point in points if point.format_failures is not None]
    clipped = [(step, 100 * value) for step, value in folder.series("response_length/clip_ratio")]
    if failures or clipped:
        panels.append(Panel(label="share of answers (%)", draw=lambda axes: _failures(axes, failures, clipped)))
    if failures:
        words.append(f"Format failures in validation {_from_to(failures, _percent_of_100)}.")
    if clipped:
        words.append(f"Training answers cut off at the length limit {_from_to(clipped, _percent_of_100)}.")
    lengths = folder.series("response_length/mean")
    validated = [(point.step, point.response_tokens) for point in points if point.response_tokens is not None]
    if lengths or validated:
        panels.append(Panel(label="mean length\n(tokens)", draw=lambda axes: _lengths(axes, lengths, validated)))
        words.append(f"Mean answer length in tokens {_from_to(lengths or validated, number)}.")
    return draw_figure("Format failures and answer length", words, panels)


def health(folder: RunFolder) -> Figure | None:
    """Entropy and gradient norm: signs of a policy that collapses or blows up."""
    panels, words = [], []
    if entropy := folder.series("actor/entropy") or folder.series("actor/entropy_loss"):
        panels.append(Panel(label="entropy\n(nats per token)", draw=lambda axes: _line(axes, entropy, _FIRST, "o")))
        words.append(f"Entropy of the policy {_from_to(entropy, share)}.")
    if norms := folder.series("actor/grad_norm"):
        panels.append(Panel(label="gradient norm", draw=lambda axes: _line(axes, norms, _SECOND, "s")))
        words.append(f"Gradient norm {_from_to(norms, share)}.")
    title = "Entropy and gradient norm" if entropy else "Gradient norm"
    return draw_figure(title, words, panels)


def step_time(folder: RunFolder) -> Figure | None:
    """Where the seconds of a step went. Where parts overlap and exceed the step, "other" is 0."""
    rows: list[tuple[int, list[float]]] = []
    for step, data in folder.metrics.items():
        if WHOLE_STEP in data or STEP_PARTS["generation"] in data:
            parts = [max(data.get(key, 0.0), 0.0) for key in STEP_PARTS.values()]
            rows.append((step, [*parts, max(data.get(WHOLE_STEP, 0.0) - sum(parts), 0.0)]))
    if not rows:
        return None
    totals = [sum(parts[index] for _, parts in rows) for index in range(4)]
    whole = sum(totals) or 1.0
    names = (*STEP_PARTS, "other")
    split = ", ".join(f"{name} {percent(total / whole)}" for name, total in zip(names, totals, strict=True))
    words = [f"Of {duration(whole)} in {len(rows)} steps: {split}. Other holds log-probabilities, rewards and saving."]
    if testing := folder.series("timing_s/testing"):
        words.append(f"Validation took {duration(sum(value for _, value in testing))} more, not drawn.")
    size = -(-len(rows) // _MAX_BARS)
    if size > 1:
        words.append(f"Each bar is the mean of {size} steps.")
    bars = _binned(rows, size)
    panel = Panel(label="time per step (s)", draw=lambda axes: _stack(axes, bars, names, 0.8 * size))
    return draw_figure("Time per step", words, [panel], height=2.9)


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
    start_at_zero(axes, [*failures, *clipped])
    _legend(axes, columns=1)


def _lengths(axes: Axes, lengths: Series, validated: Series) -> None:
    if lengths:
        _line(axes, lengths, _FIRST, "o", "training")
    if validated:
        _line(axes, validated, _SECOND, "s", "validation")
    start_at_zero(axes, [*lengths, *validated])
    _legend(axes, columns=2)


def _stack(axes: Axes, bars: Sequence[tuple[float, list[float]]], names: Sequence[str], width: float) -> None:
    steps = [step for step, _ in bars]
    floor = [0.0] * len(bars)
    for index, (name, colour) in enumerate(zip(names, (_FIRST, _SECOND, _THIRD, _FOURTH), strict=True)):
        heights = [parts[index] for _, parts in bars]
        axes.bar(steps, heights, bottom=floor, width=width, color=colour, label=name)
        floor = [low + height for low, height in zip(floor, heights, strict=True)]
    _legend(axes, columns=4)


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
