"""The figures of a page that sets runs side by side: one line a run, over training steps.

Invariants: a figure is left out if no run has data for it, and names the runs that have none; a run has the same look
in every figure. How lines look is ``line_figures``'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pangu_verl.report.columns import Column
from pangu_verl.report.drawing import Series
from pangu_verl.report.line_figures import ComparedFigure, Line, Look, line_figure
from pangu_verl.report.timing import WHOLE_STEP
from pangu_verl.report.wording import number, share


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """What a figure shows, and where a run keeps it."""

    look: Look
    read: Callable[[Column], Series]
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
        look=Look(
            title="Training reward",
            caption="Mean score of the answers of a training step.",
            axis="mean score",
            write=share,
        ),
        read=_metric("critic/score/mean"),
    ),
    _Kind(
        look=Look(
            title="Validation accuracy",
            caption="Share of the judged rows that were right, over all rows of a validation; bars are its 95% "
            "interval. Runs are drawn a little apart so that their bars can be told from each other.",
            axis="share of rows",
            write=share,
        ),
        read=_accuracy,
        bounds=_accuracy_bounds,
    ),
    _Kind(
        look=Look(
            title="Response length",
            caption="Mean length of the answers of a training step.",
            axis="tokens",
            write=number,
            from_zero=True,
        ),
        read=_metric("response_length/mean"),
    ),
    _Kind(
        look=Look(
            title="Entropy",
            caption="Entropy of the policy on the answers of a training step.",
            axis="nats per token",
            write=share,
        ),
        read=_metric("actor/entropy", "actor/entropy_loss"),
    ),
    _Kind(
        look=Look(
            title="Step time",
            caption="Seconds of a training step with its saving, validation left out.",
            axis="seconds",
            write=lambda value: number(value, "s", 1),
            from_zero=True,
        ),
        read=_metric(WHOLE_STEP),
    ),
)


def compared_figures(columns: Sequence[Column]) -> list[ComparedFigure]:
    """The figures for which any run has data, in the order of the page."""
    return [figure for kind in _KINDS if (figure := _compared_figure(columns, kind)) is not None]


def _compared_figure(columns: Sequence[Column], kind: _Kind) -> ComparedFigure | None:
    lines = [
        Line(position=position, label=column.label, series=series, bounds=kind.bounds(column))
        for position, column in enumerate(columns)
        if (series := kind.read(column))
    ]
    silent = [column.label for column in columns if not kind.read(column)]
    return line_figure(kind.look, lines, len(columns), silent)
