"""Figures of rewards with one line a source."""

from __future__ import annotations

from typing import Any

from pangu_verl.report.line_figures import ComparedFigure
from pangu_verl.report.reward_figures import reward_figures
from pangu_verl.report.run_folder import read_run_folder


def line(step: int, **sources: dict[str, float]) -> dict[str, Any]:
    data = {f"rewards/{name}/{key}": value for name, parts in sources.items() for key, value in parts.items()}
    return {"step": step, "data": {"rewards/unjudged_rows": 1, **data}}


def figures(runs: Any, *lines: dict[str, Any]) -> list[ComparedFigure]:
    return reward_figures(read_run_folder(runs.make(metrics=lines)))


def test_each_source_has_a_line_with_its_first_and_last_value(runs: Any) -> None:
    first = line(1, maths={"rows": 8, "score": 0.25, "judged_share": 1.0}, code={"rows": 4, "judged_share": 0.5})
    last = line(2, maths={"rows": 8, "score": 0.5, "judged_share": 0.75, "auxiliary/length": -0.1})
    scores, shares = figures(runs, first, last)
    assert [(entry.label, entry.ends) for entry in scores.legend] == [("maths", "0.25 → 0.50")]
    assert scores.figure.caption.endswith("No data from: code.")
    assert [(entry.label, entry.ends) for entry in shares.legend] == [("code", "50%"), ("maths", "100% → 75%")]
    assert [entry.position for entry in scores.legend] == [1]


def test_without_metrics_of_rewards_there_is_no_figure(runs: Any) -> None:
    assert figures(runs, runs.training_line(1), line(2)) == []


def test_of_many_sources_those_with_most_rows_are_drawn(runs: Any) -> None:
    many = {f"source{index:02d}": {"rows": float(index), "score": 0.5, "judged_share": 1.0} for index in range(12)}
    scores, _ = figures(runs, line(1, **many))
    assert [entry.label for entry in scores.legend] == [f"source{index:02d}" for index in range(4, 12)]
    assert "The 8 sources with most rows are drawn." in scores.figure.caption
