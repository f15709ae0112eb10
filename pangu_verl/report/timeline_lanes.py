"""The lanes of a timeline as SVG: what each replica and the trainer did over a window, idle time left blank.

A lane's drawing is stretched to the breadth of the page, so it holds no text; labels and axes are the page's. Colours
are classes of the page's style, those of policy versions in turn. Invariant: a drawing's size is bounded by its pixels,
not by the number of requests.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from pangu_verl.report.timeline_view import Lane, TrainedStep, Window
from pangu_verl.report.wording import number
from pangu_verl.scheduler.idle import Floats, Intervals

BREADTH = 1000
VERSION_COLOURS = 6
# up to these a request has a row of its own; beyond, a lane is a band as high as its slots are full
MOST_ROWS, MOST_REQUESTS = 16, 6000
LEVELS = 8
_STRIP_BINS, _BAND_BINS = 400, 250
_STRIP_HEIGHT, _TRAINER_HEIGHT = 14, 22


class Drawing(NamedTuple):
    """An SVG element and the height in pixels that it is made for."""

    svg: Markup
    height: int


def version_class(version: int) -> str:
    """Of -1, a request that made nothing, too."""
    return f"v{version % VERSION_COLOURS}" if version >= 0 else "nothing"


def strip(window: Window, intervals: Intervals, slots: float, marks: Sequence[float] = ()) -> Drawing:
    """How full a lane is over time, in a stronger colour for fuller; ``marks`` are moments in seconds."""
    edges_s = np.linspace(window.from_s, window.to_s, _STRIP_BINS + 1)
    shares = intervals.seconds_between(edges_s) * _STRIP_BINS / ((window.to_s - window.from_s) * slots)
    levels = np.ceil(np.clip(shares, 0.0, 1.0) * LEVELS - 0.01).astype(int)
    starts = np.flatnonzero(np.diff(levels, prepend=-1))
    paths: dict[int, list[str]] = {}
    for start, end in zip(starts, [*starts[1:], _STRIP_BINS], strict=True):
        box = _box(start * BREADTH / _STRIP_BINS, 0, (end - start) * BREADTH / _STRIP_BINS, _STRIP_HEIGHT)
        paths.setdefault(int(levels[start]), []).append(box)
    parts = [f'<path class="l{level}" d="{"".join(boxes)}"/>' for level, boxes in sorted(paths.items()) if level]
    scale = _Scale(window)
    parts += [f'<path class="resumed" d="{_box(scale.x(at_s), 0, 2, _STRIP_HEIGHT)}"/>' for at_s in marks]
    return _svg(parts, _STRIP_HEIGHT)


def trainer_lane(window: Window, steps: Sequence[TrainedStep], publications: Intervals) -> Drawing:
    """Waiting, computing in the colour of the version that was trained, and publications."""
    scale, height, parts = _Scale(window), _TRAINER_HEIGHT, []
    for step in steps:
        parts.append(f'<path class="waiting" d="{scale.box(step.waited_from_s, step.began_s, 0, height)}"/>')
        said = (
            f"step {step.step}, version {step.version}: waited {_seconds(step.began_s - step.waited_from_s)}, "
            f"computed {_seconds(step.ended_s - step.began_s)}"
        )
        box = scale.box(step.began_s, step.ended_s, 0, height)
        parts.append(f'<path class="{version_class(step.version)}" d="{box}"><title>{said}</title></path>')
    parts += _publications(scale, publications, height, "publication")
    return _svg(parts, height)


def replica_lanes(window: Window, lanes: Sequence[Lane], publications: Intervals) -> list[Drawing]:
    """The lanes of replicas, cut to the window: a row per request that runs at a time, or a band."""
    peak = max((_peak(lane.requests) for lane in lanes), default=0)
    rows = max(round(window.slots), peak)
    requests = sum(len(lane.version) for lane in lanes)
    if round(window.slots) <= MOST_ROWS and peak <= 2 * MOST_ROWS and requests <= MOST_REQUESTS:
        return [_rows(window, lane, publications, rows) for lane in lanes]
    height = 40 if len(lanes) <= 8 else 24
    return [_band(window, lane, publications, height) for lane in lanes]


def _rows(window: Window, lane: Lane, publications: Intervals, rows: int) -> Drawing:
    row_height = 6 if rows <= 8 else 4
    scale, height = _Scale(window), rows * row_height
    parts = list(_publications(scale, publications, height, "paused"))
    for place, row in enumerate(_packed(lane.requests)):
        began_s, ended_s = lane.requests.began_s[place], lane.requests.ended_s[place]
        version, tokens = int(lane.version[place]), int(lane.tokens[place])
        said = f"version {version}, {number(tokens)} tokens" if version >= 0 else "made nothing"
        # rows fill from below, and a hair of page lies between two requests
        box = scale.box(began_s, ended_s, height - (row + 1) * row_height, row_height - 1, gap=1.0)
        title = f"<title>{said}, {_seconds(ended_s - began_s)}</title>"
        parts.append(f'<path class="{version_class(version)}" d="{box}">{title}</path>')
    return _svg(parts, height)


def _band(window: Window, lane: Lane, publications: Intervals, height: int) -> Drawing:
    """Versions upon one another, the oldest below and what made nothing on top."""
    edges_s = np.linspace(window.from_s, window.to_s, _BAND_BINS + 1)
    full_s = (window.to_s - window.from_s) / _BAND_BINS * max(window.slots, _peak(lane.requests))
    breadth, floor = BREADTH / _BAND_BINS, np.zeros(_BAND_BINS)
    parts = list(_publications(_Scale(window), publications, height, "paused"))
    for version in sorted(np.unique(lane.version).tolist(), key=lambda version: (version < 0, version)):
        made = lane.version == version
        requests = Intervals(lane.requests.began_s[made], lane.requests.ended_s[made])
        thick: Floats = requests.seconds_between(edges_s) * height / full_s
        boxes = [
            _box(place * breadth, height - floor[place] - thick[place], breadth, thick[place])
            for place in np.flatnonzero(thick > 0.05)
        ]
        floor += thick
        parts.append(f'<path class="{version_class(version)}" d="{"".join(boxes)}"/>')
    return _svg(parts, height)


def _packed(requests: Intervals) -> list[int]:
    """For each request the lowest row that is free when it begins."""
    rows = [0] * len(requests.began_s)
    running: list[tuple[float, int]] = []
    free: list[int] = []
    for place in np.lexsort((requests.ended_s, requests.began_s)):
        while running and running[0][0] <= requests.began_s[place]:
            heapq.heappush(free, heapq.heappop(running)[1])
        rows[place] = heapq.heappop(free) if free else len(running)
        heapq.heappush(running, (requests.ended_s[place], rows[place]))
    return rows


def _peak(requests: Intervals) -> int:
    """The most that run at a time."""
    times_s = np.concatenate(requests)
    changes = np.repeat([1, -1], len(requests.began_s))
    order = np.lexsort((changes, times_s))
    return int(np.cumsum(changes[order]).max(initial=0))


class _Scale:
    """From running time to places in a drawing."""

    def __init__(self, window: Window) -> None:
        self._from_s, self._per_s = window.from_s, BREADTH / (window.to_s - window.from_s)

    def x(self, at_s: float) -> float:
        return min(max((at_s - self._from_s) * self._per_s, 0.0), BREADTH)

    def box(self, from_s: float, to_s: float, top: float, height: float, gap: float = 0.0) -> str:
        """Whatever happened is half a pixel broad at least."""
        left, right = self.x(from_s), self.x(to_s)
        return _box(left, top, max(right - left - gap, 0.5), height) if to_s > from_s else ""


def _publications(scale: _Scale, publications: Intervals, height: int, kind: str) -> Iterator[str]:
    boxes = "".join(scale.box(began_s, ended_s, 0, height) for began_s, ended_s in zip(*publications, strict=True))
    if boxes:
        yield f'<path class="{kind}" d="{boxes}"/>'


def _box(left: float, top: float, breadth: float, height: float) -> str:
    return f"M{left:.4g} {top:.3g}h{breadth:.4g}v{height:.3g}h-{breadth:.4g}z"


def _svg(parts: Sequence[str], height: int) -> Drawing:
    box = f'viewBox="0 0 {BREADTH} {height}" preserveAspectRatio="none" aria-hidden="true"'
    return Drawing(Markup(f'<svg {box} style="height:{height}px">{"".join(parts)}</svg>'), height)


def _seconds(seconds: float) -> str:
    return str(escape(number(seconds, "s", 1 if seconds >= 1 else 3)))
