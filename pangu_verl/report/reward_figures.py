"""The figures of rewards over training steps: one line a source.

They stand on the metrics ``rewards/<source>/<component>`` of training steps, since the lines of the audit trail do not
say at which step a response was judged. Invariant: a step at which a source had no rows has no point, rather than 0.
"""

from __future__ import annotations

from dataclasses import replace

from pangu_verl.report.line_figures import ComparedFigure, Line, Look, line_figure
from pangu_verl.report.run_folder import RunFolder
from pangu_verl.report.wording import percent, share

_MOST_SOURCES = 8
_PREFIX, _ROWS = "rewards/", "/rows"
_LOOKS = {
    "score": Look(
        title="Mean score by source",
        caption="Mean score of the judged answers of a training step.",
        axis="mean score",
        write=share,
        from_zero=True,
    ),
    "judged_share": Look(
        title="Share judged by source",
        caption="Share of a training step's answers that the source could judge; what it could not is kept out of "
        "training.",
        axis="share of rows",
        write=percent,
        from_zero=True,
    ),
}


def reward_figures(folder: RunFolder) -> list[ComparedFigure]:
    """Mean score and share judged, as far as the metrics have them."""
    found = _sources_by_rows(folder)
    sources = sorted(found[:_MOST_SOURCES])
    left_out = f" The {_MOST_SOURCES} sources with most rows are drawn." if len(found) > _MOST_SOURCES else ""
    drawn = []
    for component, look in _LOOKS.items():
        lines = [
            Line(position=position, label=source, series=series)
            for position, source in enumerate(sources)
            if (series := folder.series(f"{_PREFIX}{source}/{component}"))
        ]
        silent = [source for source in sources if source not in {line.label for line in lines}]
        drawn.append(line_figure(replace(look, caption=look.caption + left_out), lines, len(sources), silent))
    return [figure for figure in drawn if figure is not None]


def _sources_by_rows(folder: RunFolder) -> list[str]:
    """The sources that the metrics of training name, those with most rows first."""
    rows: dict[str, float] = {}
    for data in folder.metrics.values():
        for metric, value in data.items():
            if metric.startswith(_PREFIX) and metric.endswith(_ROWS):
                source = metric[len(_PREFIX) : -len(_ROWS)]
                rows[source] = rows.get(source, 0.0) + value
    return sorted(rows, key=lambda source: (-rows[source], source))
