"""Where the seconds of a step went."""

from __future__ import annotations

from typing import Any

from pangu_verl.report.run_folder import read_run_folder
from pangu_verl.report.timing import median_parts_s, median_step_s


def test_medians_leave_an_unusual_step_aside(runs: Any) -> None:
    slow_first = [runs.training_line(1, **{"timing_s/step": 300.0, "timing_s/update_actor": 290.0})]
    folder = read_run_folder(runs.make(metrics=slow_first + [runs.training_line(step) for step in (2, 3)]))
    assert median_step_s(folder) == 28.0
    assert median_parts_s(folder) == {"generation": 6.0, "update": 20.0, "weight transfer": 0.5, "other": 1.5}


def test_what_was_never_timed_is_unknown(runs: Any) -> None:
    folder = read_run_folder(runs.make(metrics=[{"step": 1, "data": {"timing_s/step": 9.0}}]))
    assert median_step_s(folder) == 9.0
    assert set(median_parts_s(folder).values()) == {None}


def test_parts_that_overlap_leave_nothing_over(runs: Any) -> None:
    data = {"timing_s/step": 10.0, "timing_s/gen": 8.0, "timing_s/update_actor": 7.0}
    parts = median_parts_s(read_run_folder(runs.make(metrics=[{"step": 1, "data": data}])))
    assert (parts["other"], parts["weight transfer"]) == (0.0, None)


def test_a_run_without_metrics_has_no_times(runs: Any) -> None:
    folder = read_run_folder(runs.make(metrics=None))
    assert median_step_s(folder) is None
    assert set(median_parts_s(folder).values()) == {None}
