"""``timeline.html``: on which one sees who was idle when. Made beside ``report.html`` where a run wrote a timeline.

Invariants: what ``rendering`` holds of every page; shares are those of ``timeline_view``, drawings those of
``timeline_lanes``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pangu_verl.report import wording
from pangu_verl.report.line_figures import ComparedFigure, Line, Look, line_figure, swatch
from pangu_verl.report.rendering import render, write_page
from pangu_verl.report.run_folder import RunFolder
from pangu_verl.report.timeline_lanes import Drawing, replica_lanes, strip, trainer_lane, version_class
from pangu_verl.report.timeline_view import Lane, TrainedStep, View, Window, view_of
from pangu_verl.scheduler.timeline import TIMELINE_NAME
from pangu_verl.scheduler.timeline_reading import read_timeline

PAGE_NAME = "timeline.html"
_DETAIL_STEPS = 8
_MOST_TICKS = 6
_TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 604800)
_LAG_SHARE = "scheduler/lag_share/"


class Tick(NamedTuple):
    """A label at a place in percent of the breadth."""

    place: float
    text: str


class LaneRow(NamedTuple):
    """One lane and what stands beside it. ``said`` is shown where the pointer rests."""

    label: str
    said: str
    drawing: Drawing


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Lanes over one stretch of time."""

    lanes: tuple[LaneRow, ...]
    steps: tuple[Tick, ...]
    times: tuple[Tick, ...]
    shown: tuple[float, float] | None = None
    versions: tuple[tuple[str, str], ...] = ()


class ShareRow(NamedTuple):
    """One line of the table, written out."""

    name: str
    cells: tuple[str, ...]


def build_timeline(folder: RunFolder) -> str | None:
    """Write the page and return what it says in one sentence; ``None`` without a timeline.

    ``WrongUse`` if the timeline is damaged.
    """
    path = folder.path / TIMELINE_NAME
    view = view_of(read_timeline(path)) if path.is_file() else None
    if view is None:
        return None
    shares = _Shares(view, view.whole)
    window, steps = view.middle(_DETAIL_STEPS)
    page = render(
        "timeline.html.jinja",
        ("page.css", "timeline.css"),
        title=folder.facts.name or folder.path.resolve().name,
        headline=_headline(view, shares),
        key_figures=list(_key_figures(view, shares)),
        overview=_overview(view, shares, window),
        detail=_detail(view, window, steps),
        detail_name=_name_of(steps),
        rows=_table(view, shares, _Shares(view, window)),
        figure=_figure(view),
        swatch=swatch,
        lags=_lags(folder),
        resumptions=len(view.sessions) - 1,
        cut_out=wording.duration(view.cut_out_s),
    )
    write_page(folder.path / PAGE_NAME, page)
    return _headline(view, shares)


class _Shares:
    """What the trainer and the replicas did in a window."""

    def __init__(self, view: View, window: Window) -> None:
        self.computing, self.publication, self.idle = (float(share[0]) for share in view.trainer(window))
        found = [view.replica(lane, window) for lane in view.lanes]
        self.replicas = [(float(one.idle[0]), float(one.publication[0]), float(one.occupied[0])) for one in found]

    @property
    def replica_means(self) -> tuple[float, float, float] | tuple[None, None, None]:
        """Idle, publication and occupied, where there are replicas."""
        if not self.replicas:
            return None, None, None
        idle, publication, occupied = np.mean(self.replicas, axis=0).tolist()
        return idle, publication, occupied


def _headline(view: View, shares: _Shares) -> str:
    idle, _, occupied = shares.replica_means
    steps = len({step.step for step in view.steps})
    sentence = (
        f"In {wording.duration(view.whole.to_s)} and {wording.number(steps)} step{'s' * (steps != 1)}, publications "
        f"apart, the trainer was idle for {wording.percent(shares.idle)} of the time"
    )
    if idle is None:
        return f"{sentence}; no request ended."
    return (
        f"{sentence}, a replica on average for {wording.percent(idle)}; "
        f"{wording.percent(occupied)} of the decode slots were occupied."
    )


def _key_figures(view: View, shares: _Shares) -> Iterator[tuple[str, str, str]]:
    run, (idle, publication, occupied) = view.runs[-1], shares.replica_means
    yield "mode", run.mode, f"policy {run.policy}, bound {wording.number(run.bound_versions)} versions"
    yield "trainer idle", wording.percent(shares.idle), f"computing {wording.percent(shares.computing)}"
    yield "replicas idle", wording.percent(idle), f"mean of {wording.number(len(view.lanes))}"
    yield "slots occupied", wording.percent(occupied), f"of {wording.number(run.slots_per_replica)} a replica, mean"
    yield (
        "publication",
        wording.percent(shares.publication),
        f"of the trainer's time; {wording.percent(publication)} of the replicas'",
    )


def _overview(view: View, shares: _Shares, detail: Window) -> Chart:
    whole = view.whole
    marks = [session.from_s for session in view.sessions[1:]]
    said = f"computing {wording.percent(shares.computing)} of the time"
    lanes = [LaneRow("trainer", said, strip(whole, view.computing, 1.0, marks))]
    for lane, (idle, _, occupied) in zip(view.lanes, shares.replicas, strict=True):
        said = f"{lane.name}: idle {wording.percent(idle)}, slots occupied {wording.percent(occupied)}"
        lanes.append(LaneRow(lane.name, said, strip(whole, lane.requests, whole.slots, marks)))
    return Chart(
        lanes=tuple(lanes),
        steps=(),
        times=_times(whole),
        shown=(_place(detail.from_s, whole), _place(detail.to_s, whole)),
    )


def _detail(view: View, window: Window, steps: Sequence[TrainedStep]) -> Chart:
    cut = [lane.cut(window) for lane in view.lanes]
    drawings = replica_lanes(window, cut, view.publications)
    return Chart(
        lanes=(
            LaneRow("trainer", "trainer", trainer_lane(window, steps, view.publications)),
            *(LaneRow(lane.name, lane.name, drawing) for lane, drawing in zip(cut, drawings, strict=True)),
        ),
        steps=tuple(Tick(_place(step.from_s, window), str(step.step)) for step in steps),
        times=_times(window),
        versions=tuple(_versions(cut, steps)),
    )


def _versions(lanes: Sequence[Lane], steps: Sequence[TrainedStep]) -> Iterator[tuple[str, str]]:
    """Classes of colour, and the versions that are shown in it."""
    shown = {int(version) for lane in lanes for version in np.unique(lane.version)} | {step.version for step in steps}
    named: dict[str, list[str]] = {}
    for version in sorted(shown, key=lambda version: (version < 0, version)):
        named.setdefault(version_class(version), []).append(str(version) if version >= 0 else "made nothing")
    for kind, versions in named.items():
        yield kind, ", ".join(versions if len(versions) <= 3 else [*versions[:2], "…", versions[-1]])


def _table(view: View, whole: _Shares, detail: _Shares) -> list[ShareRow]:
    """The trainer, then each replica: the whole run, and the steps shown in detail."""
    trainer = [wording.percent(share) for share in (whole.idle, whole.publication)]
    rows = [ShareRow("trainer", (*trainer, "", "", "", wording.percent(detail.idle), ""))]
    for lane, shares, shown in zip(view.lanes, whole.replicas, detail.replicas, strict=True):
        counts = (wording.number(len(lane.version)), wording.number(int(lane.tokens.sum())))
        percents = [wording.percent(share) for share in (*shares, shown[0], shown[2])]
        rows.append(ShareRow(lane.name, (*percents[:3], *counts, *percents[3:])))
    return rows


def _figure(view: View) -> ComparedFigure | None:
    """Idle shares over training steps. Of a step that a resumption did again the later counts."""
    if not view.steps:
        return None
    trainer, replicas = view.by_step()
    named = {"trainer": trainer.idle}
    if replicas:
        idle = np.array([shares.idle for shares in replicas])
        named |= {
            "replicas, mean": idle.mean(axis=0),
            "the most idle replica": idle.max(axis=0),
            "slots without a request, mean": 1.0 - np.mean([shares.occupied for shares in replicas], axis=0),
        }
    lines = []
    for position, (label, shares) in enumerate(named.items()):
        series = {step.step: share for step, share in zip(view.steps, shares.tolist(), strict=True) if share == share}
        if series:
            lines.append(Line(position=position, label=label, series=sorted(series.items())))
    look = Look(
        title="Idle by step",
        caption="From the end of one step to the end of the next. Publications are not counted as idle, but their "
        "slots have no request.",
        axis="share of the time",
        write=wording.percent,
        from_zero=True,
    )
    return line_figure(look, lines, len(named))


def _lags(folder: RunFolder) -> list[tuple[str, str, float]]:
    """Lag in versions, and its share of the trained tokens as text and in percent, mean over the steps."""
    shares: dict[int, list[float]] = {}
    for data in folder.metrics.values():
        for metric, value in data.items():
            lag = metric.removeprefix(_LAG_SHARE)
            if metric.startswith(_LAG_SHARE) and lag.isascii() and lag.isdigit() and 0 <= value <= 1:
                shares.setdefault(int(lag), []).append(value)
    means = [(lag, sum(values) / len(values)) for lag, values in sorted(shares.items())]
    return [(str(lag), wording.percent(mean), 100 * mean) for lag, mean in means]


def _name_of(steps: Sequence[TrainedStep]) -> str:
    if not steps:
        return "the longest session"
    first, last = steps[0].step, steps[-1].step
    return f"step {first}" if first == last else f"steps {first} to {last}"


def _place(at_s: float, window: Window) -> float:
    return round(100 * (at_s - window.from_s) / (window.to_s - window.from_s), 2)


def _times(window: Window) -> tuple[Tick, ...]:
    """Round moments of running time."""
    length_s = window.to_s - window.from_s
    apart_s = next((tick_s for tick_s in _TICKS_S if length_s / tick_s <= _MOST_TICKS), length_s / _MOST_TICKS)
    moments = range(-int(-window.from_s // apart_s), int(window.to_s // apart_s) + 1)
    return tuple(Tick(_place(place * apart_s, window), _moment(place * apart_s, apart_s)) for place in moments)


def _moment(at_s: float, apart_s: float) -> str:
    """As a clock shows it: 1:05 is a minute and five seconds, 2:01:05 two hours more."""
    if apart_s < 1:
        return f"{at_s:.1f} s"
    minutes, seconds = divmod(round(at_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
