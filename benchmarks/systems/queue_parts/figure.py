"""The figures as a drawing: the ledger's verbs beside bare SQLite, and beside the queues in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pangu_verl.queue.ledger_store import Durability

from .batches import VERBS

OURS, BARE, OTHERS = "#0b6e99", "#9aa5b1", "#c98a2b"


def drawn(record: Mapping[str, Any], path: Path) -> None:
    """Of the parts that were measured; nothing where there is nothing to draw."""
    parts = record["parts"]
    if "batches" not in parts:
        return
    num_panels = 3 if "peers" in parts else 2
    with matplotlib.rc_context({"svg.hashsalt": "queue", "font.size": 9}):
        canvas = Figure(figsize=(4.2 * num_panels, 3.4), layout="constrained")
        panels = canvas.subplots(1, num_panels)
        for axes, durability in zip(panels, Durability, strict=False):
            _verbs(axes, durability, parts["batches"][durability])
        if "peers" in parts:
            _peers(panels[2], parts)
        canvas.savefig(path, metadata={"Date": None})


def _verbs(axes: Axes, durability: Durability, figures: Mapping[str, Any]) -> None:
    for shift, side, colour, label in ((-0.2, "ours", OURS, "ledger"), (0.2, "bare", BARE, "bare SQLite")):
        heights = [figures[verb][f"{side}_per_second"]["median"] for verb in VERBS]
        axes.bar([place + shift for place in range(len(VERBS))], heights, 0.38, color=colour, label=label)
    survived = "power loss" if durability is Durability.FULL else "kill -9"
    axes.set_xticks(range(len(VERBS)), VERBS)
    axes.set_title(f"{durability} (survives {survived})")
    axes.set_ylabel("items a second, batches of 64")
    axes.margins(y=0.25)
    axes.legend(frameon=False, ncols=2, loc="upper center")


def _peers(axes: Axes, parts: Mapping[str, Any]) -> None:
    ledger, peers = parts["batches"], parts["peers"]
    rates = {
        "ledger FULL, complete": (ledger[Durability.FULL]["complete"]["ours_per_second"], OURS),
        "ledger NORMAL, complete": (ledger[Durability.NORMAL]["complete"]["ours_per_second"], OURS),
        "TransferQueue put": (peers["transfer_queue"]["put_per_second"], OTHERS),
        "ray.util.queue put": (peers["ray_queue"]["put_per_second"], OTHERS),
        "verl MessageQueue put": (peers["message_queue"]["put_per_second"], OTHERS),
    }
    names = list(rates)[::-1]
    axes.barh(names, [rates[name][0]["median"] for name in names], color=[rates[name][1] for name in names])
    axes.set_xscale("log")
    axes.set_xlim(left=100)
    axes.set_title("Beside queues in memory")
    axes.set_xlabel("items a second, batches of 64")
