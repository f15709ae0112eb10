"""The figure: fresh tokens of each mode, its repeats, and what the simulator says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .modes import SHORT_POLL_S

_COLOURS = {"ours": "#0b6e99", "verl": "#c98a2b"}
_FORECAST = "#52606d"


def drawn(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Nothing where there is nothing to draw."""
    shown = [row for row in rows if row["runs"] and row["poll_s"] == SHORT_POLL_S]
    sizes = list(dict.fromkeys(row["size"] for row in shown))
    if not sizes:
        return
    height = max(sum(row["size"] == size for row in shown) for size in sizes)
    with matplotlib.rc_context({"svg.hashsalt": "verl_modes", "font.size": 9}):
        canvas = Figure(figsize=(5.2 * len(sizes), 0.28 * height + 1.6), layout="constrained")
        panels = canvas.subplots(1, len(sizes), squeeze=False)[0]
        for axes, size in zip(panels, sizes, strict=True):
            _panel(axes, size, [row for row in shown if row["size"] == size][::-1])
        marks = [
            Line2D([], [], color=_COLOURS["ours"], lw=6, label="ours"),
            Line2D([], [], color=_COLOURS["verl"], lw=6, label="verl's"),
            Line2D([], [], color=_FORECAST, marker="d", ls="", label="as simulated"),
        ]
        canvas.legend(handles=marks, loc="outside upper center", ncols=3, frameon=False)
        canvas.supxlabel("fresh-token share, paced compute (1: no device ever idle, every token trained on)")
        canvas.savefig(path, metadata={"Date": None})


def _panel(axes: Axes, size: str, rows: Sequence[Mapping[str, Any]]) -> None:
    places = range(len(rows))
    shares = [row["fresh_token_share"] for row in rows]
    axes.barh(places, shares, color=[_COLOURS[row["side"]] for row in rows], height=0.7)
    for place, row in zip(places, rows, strict=True):
        axes.plot(row["fresh_token_share_range"], [place, place], color="black", lw=1)
        if row["predicted_fresh_token_share"] is not None:
            axes.plot(row["predicted_fresh_token_share"], place, marker="d", color=_FORECAST, ms=4)
    axes.set_yticks(places, [row["mode"] for row in rows])
    axes.set_xlim(0.0, 1.0)
    axes.set_title(size)
