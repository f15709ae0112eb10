"""The figure of a recommendation: fresh tokens against trained length, and what no setting beats in both.

Invariant: all points are of the short runs of one seed, so that they can be compared with each other. The names of
policies stand in the page's legend, not in the drawing.
"""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pangu_verl.report.drawing import SERIES, Figure, page_style, to_svg
from pangu_verl.report.wording import percent
from pangu_verl.simulate.recommend import Recommendation
from pangu_verl.simulate.trials import Setting

_LEFT_MARGIN = 0.03
TITLE = "Fresh tokens against trained length"
_CAPTION = (
    "A number is a bound: the best setting of that policy under it; of bounds that come to the same the smallest. The "
    "line joins what no setting that was tried beats in both; small dots are the others, those far to the left left "
    "out. The ring is the recommended setting; right of the dashed line enough length is trained on. All from short "
    "runs of one seed; the finalists' means are in the table."
)


def policies_of(found: Recommendation) -> list[str]:
    """The policies that were tried, in the order of their colours."""
    return list(dict.fromkeys(setting.variant.policy for setting in found.tried))


def frontier_figure(found: Recommendation) -> Figure:
    with page_style(TITLE):
        canvas = Canvas(figsize=(5.6, 3.6), layout="constrained")
        axes = canvas.subplots()
        _draw(axes, found)
        axes.set_xlabel("trained-length ratio")
        axes.set_ylabel("fresh-token share")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        return Figure(title=TITLE, caption=_CAPTION, svg=to_svg(canvas, f"{TITLE}. {_CAPTION} {_details(found)}"))


def policy_swatch(position: int) -> Markup:
    """The colour of the policy at this position."""
    with page_style(f"policy {position}"):
        canvas = Canvas(figsize=(0.2, 0.14))
        mark = Line2D([0.5], [0.5], marker="s", markersize=8, color=_colour(position), transform=canvas.transFigure)
        canvas.add_artist(mark)
        return to_svg(canvas, "")


def _draw(axes: Axes, found: Recommendation) -> None:
    ink = matplotlib.rcParams["text.color"]
    axes.plot(*_places(found, found.tried), "o", markersize=2.0, color=ink, alpha=0.25)
    axes.plot(*_places(found, found.frontier), color=ink, linewidth=1.0, alpha=0.6)
    axes.axvline(found.least_length_ratio, color=ink, linestyle="dashed", linewidth=1.0)
    _draw_bounds(axes, found)
    shown, _ = _places(found, found.best_by_policy)
    axes.set_xlim(left=min(*shown, found.least_length_ratio) - _LEFT_MARGIN)
    [across], [up] = _places(found, [found.chosen.setting])
    axes.plot([across], [up], "o", markersize=15, markerfacecolor="none", markeredgecolor=ink, markeredgewidth=1.3)
    axes.annotate("recommended", (across, up), xytext=(0, -11), textcoords="offset points", ha="center", va="top")


def _draw_bounds(axes: Axes, found: Recommendation) -> None:
    policies = policies_of(found)
    places: dict[tuple[float, float], list[str]] = {}
    for setting in sorted(found.best_by_policy, key=lambda best: best.bound_versions):
        [across], [up] = _places(found, [setting])
        here = places.setdefault((across, up), [])
        if setting.variant.policy in here:
            continue
        axes.annotate(
            str(setting.bound_versions),
            (across, up),
            # Policies that come to the same stand side by side.
            xytext=(6 * len(here), 0),
            textcoords="offset points",
            color=_colour(policies.index(setting.variant.policy)),
            weight="bold",
            ha="center",
            va="center",
        )
        here.append(setting.variant.policy)


def _places(found: Recommendation, settings: Iterable[Setting]) -> tuple[list[float], list[float]]:
    measures = [found.tried[setting] for setting in settings]
    return [one.trained_length_ratio for one in measures], [one.fresh_token_share for one in measures]


def _colour(position: int) -> str:
    return SERIES[position % len(SERIES)]


def _details(found: Recommendation) -> str:
    measured = [(setting, found.tried[setting]) for setting in found.best_by_policy]
    return " ".join(
        f"{setting.variant.policy}, bound {setting.bound_versions}: {percent(measures.fresh_token_share)} at "
        f"{percent(measures.trained_length_ratio)}."
        for setting, measures in measured
    )
