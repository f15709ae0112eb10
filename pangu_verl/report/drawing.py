"""A figure as SVG to be set into a page: panels under one another that share the axis of training steps.

Invariants: colours are variables of the page's style, so that one drawing serves light and dark; text stays text; a
drawing is the same, byte for byte, for the same data. matplotlib's global state is left as it was. What is drawn is
the caller's; text of a run never enters a drawing, only its description.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

PANEL_HEIGHT = 1.75
_WIDTH = 5.0
# stand-ins that matplotlib draws with; `to_svg` puts the page's variables in their place
_INK, _GRID = "#010201", "#010202"
SERIES = tuple(f"#0103{index:02x}" for index in range(1, 9))
_VARIABLES = {
    _INK: "var(--ink)",
    _GRID: "var(--grid)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)},
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

Series = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A drawing with its heading and, in ``caption``, what it shows in words."""

    title: str
    caption: str
    svg: Markup


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One set of axes; ``label`` names its upright axis."""

    label: str
    draw: Callable[[Axes], None]


def draw_figure(
    title: str, words: Sequence[str], panels: Sequence[Panel], *, height: float = PANEL_HEIGHT, details: str = ""
) -> Figure | None:
    """A figure with the sentences ``words`` as caption, or ``None`` without panels.

    ``height`` is that of a panel in inches; ``details`` are for those who hear the page and do not see the drawing.
    """
    if not panels:
        return None
    with page_style(title):
        canvas = Canvas(figsize=(_WIDTH, height * len(panels) + 0.35), layout="constrained")
        rows = canvas.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(rows, panels, strict=True):
            panel.draw(axes)
            axes.set_ylabel(panel.label)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        rows[-1].set_xlabel("training step")
        canvas.align_ylabels(list(rows))
        caption = " ".join(words)
        return Figure(title=title, caption=caption, svg=to_svg(canvas, f"{title}. {caption} {details}".rstrip()))


def start_at_zero(axes: Axes, series: Series) -> None:
    """Let the upright axis begin at 0 and leave room over the largest value."""
    axes.set_ylim(0.0, 1.08 * max(value for _, value in series) or 1.0)


@contextlib.contextmanager
def page_style(salt: str) -> Iterator[None]:
    """matplotlib set up for a page; drawings of one page need different salts, or their elements share names."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc must not change the page
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": salt})
        yield


def to_svg(canvas: Canvas, description: str) -> Markup:
    """The drawing as an element; without a description it is an ornament that is not read aloud."""
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
    role = f'role="img" aria-label="{escape(description)}"' if description else 'aria-hidden="true"'
    return Markup(drawing.replace("<svg ", f"<svg {role} ", 1))
