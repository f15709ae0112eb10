"""The figures: fresh tokens against trained length in every cell, and the controller beside the fixed bounds.

Drawn from the record alone, in colours that can be read on light and on dark ground.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

OURS, VERL, OTHERS, INK = "#2f81c7", "#d9822b", "#8c8c8c", "#7a7a7a"
_STYLE = {
    "svg.hashsalt": "scheduler",
    "svg.fonttype": "none",
    "font.size": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
#: By side and the beginning of a point's name: colour, marker, whether it is filled, and what the legend calls it.
_MARKS = {
    ("ours", "mask"): (OURS, "o", True, "ours, mask (floors joined)"),
    ("ours", "drop"): (OURS, "^", False, "ours, drop"),
    ("ours", "wait"): (OURS, "s", False, "ours, wait"),
    ("waves", "mask"): (OURS, "v", True, "ours in waves, mask (joined)"),
    ("waves", "drop"): (OURS, "<", False, "ours in waves, drop"),
    ("waves", "wait"): (OURS, ">", False, "ours in waves, wait"),
    ("verl", "verl_drop"): (VERL, "o", True, "verl drop (warm-ups joined)"),
    ("verl", "verl_wait"): (VERL, "s", False, "verl wait, each warm-up"),
    ("others", "admission"): (OTHERS, "X", True, "admission only: over its bound"),
    ("others", "mask"): (OURS, "*", False, "mask, wholly masked rows left out"),
    ("others", "verl_drop in waves"): (VERL, "v", False, "verl's drop in our waves"),
    ("others", "synchronous"): (OTHERS, "P", True, "synchronous"),
    ("others", "one step"): (OTHERS, "D", False, "one step off"),
}
_JOINED = (("ours", "mask"), ("waves", "mask"), ("verl", "verl_drop"))
_LOWEST_RATIO = 0.5


def drawn(record: Mapping[str, Any], path: Path) -> list[Path]:
    """Figures of the parts that were measured, beside the record at ``path``; returns their files."""
    parts = record["parts"]
    draw: dict[str, Callable[[], Figure]] = {}
    if "cells" in parts:
        for steps, cells in by_steps_per_version(parts["cells"]["cells"]).items():
            draw[frontier_name(steps)] = partial(_frontier, cells)
    if "controller" in parts:
        draw["controller"] = partial(_controller, parts["controller"])
    files = []
    for name, figure_of in draw.items():
        with matplotlib.rc_context(_STYLE):
            files.append(path.with_name(f"{path.stem}_{name}.svg"))
            figure_of().savefig(files[-1], transparent=True, metadata={"Date": None})
    return files


def by_steps_per_version(cells: Sequence[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = {}
    for cell in cells:
        found.setdefault(cell["steps_per_version"], []).append(cell)
    return found


def frontier_name(steps_per_version: int) -> str:
    return f"frontier_{steps_per_version}"


def _frontier(cells: Sequence[Mapping[str, Any]]) -> Figure:
    traces = list(dict.fromkeys(cell["trace"] for cell in cells))
    columns = len(cells) // len(traces)
    canvas = Figure(figsize=(2.0 * columns, 2.1 * len(traces) + 0.8), layout="constrained")
    panels = canvas.subplots(len(traces), columns, sharex=True, sharey=True, squeeze=False)
    for axes, cell in zip(panels.flat, cells, strict=True):
        _panel(axes, cell)
    canvas.supxlabel("trained-length ratio (1: no bias against long answers)")
    canvas.supylabel("fresh-token share (1: no device ever idle, every token trained)")
    marks = [
        Line2D([], [], color=colour, marker=marker, ls="", ms=5, mfc=colour if is_filled else "none", label=label)
        for colour, marker, is_filled, label in _MARKS.values()
    ]
    asked = Line2D([], [], color=VERL, ls=":", label="asked: 1.08 x the best verl mode, or 0.97")
    limit = Line2D([], [], color=OTHERS, lw=0.8, label="most possible as prompts come")
    canvas.legend(handles=[*marks, asked, limit], loc="outside upper center", ncols=4, frameon=False)
    return canvas


def _panel(axes: Axes, cell: Mapping[str, Any]) -> None:
    axes.plot(*zip(*cell["limit"], strict=True), color=OTHERS, lw=0.8)
    for (side, prefix), (colour, marker, is_filled, _) in _MARKS.items():
        points = sorted(
            (point["trained_length_ratio"][0], point["fresh_token_share"][0])
            for point in cell["points"]
            if point["side"] == side
            and point["point"].startswith(prefix)
            and point["trained_length_ratio"][0] >= _LOWEST_RATIO
        )
        if points:
            face = colour if is_filled else "none"
            line = "-" if (side, prefix) in _JOINED else ""
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, ls=line, lw=0.7, ms=3.5, mfc=face)
    mark = cell["mark"]
    if mark["asked_fresh_token_share"] is not None:
        axes.hlines(mark["asked_fresh_token_share"], mark["best_verl_trained_length_ratio"], 1.02, color=VERL, ls=":")
    axes.set_title(
        f"{cell['trace']}, s = {cell['bound_versions']}, T/W = {cell['train_to_rollout_ratio']:g}", fontsize=8
    )
    axes.set_xlim(_LOWEST_RATIO, 1.03)
    axes.set_ylim(0.0, 1.03)


def _controller(figures: Mapping[str, Any]) -> Figure:
    courses: Sequence[Mapping[str, Any]] = figures["courses"][::-1]
    canvas = Figure(figsize=(8.0, 0.26 * len(courses) + 1.1), layout="constrained")
    axes = canvas.subplots()
    for place, course in enumerate(courses):
        fixed = {bound: share[0] for bound, share in course["fixed"].items()}
        best = max(fixed.values())
        for bound, share in fixed.items():
            axes.text(share / best, place, str(bound), color=OTHERS, ha="center", va="center", fontsize=7, clip_on=True)
        for found in course["adaptive_from"].values():
            axes.plot(
                found["effective_token_share"][0] / best, place, marker="o", color=OURS, ms=6, mfc="none", mew=1.5
            )
    axes.axvline(1.0, color=OTHERS, lw=0.6)
    axes.set_yticks(range(len(courses)), [course["name"] for course in courses])
    axes.set_xlim(0.6, 1.15)
    axes.set_xlabel("effective-token share by that of the best fixed bound; numbers: fixed bounds, circles: controller")
    return canvas
