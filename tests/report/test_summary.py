"""The numbers of a run: paired by prompt, with what could not be judged left out and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pangu_verl.report import summarise
from pangu_verl.report.comparison import Comparison, compare
from pangu_verl.report.run_folder import read_run_folder
from pangu_verl.report.statistics import tango_interval


def compared(folder: Path) -> Comparison:
    return compare(read_run_folder(folder))


def test_whole_run(whole_run: Path) -> None:
    summary = summarise(whole_run)
    assert (summary.rows, summary.accuracy_before, summary.accuracy_after) == (40, 0.3, 0.65)
    assert summary.gain == pytest.approx(0.35)
    assert summary.interval == tango_interval(16, 2, 40)
    assert (summary.format_failures_before, summary.format_failures_after) == (0.2, 0.025)
    # 31 rows were readable both times: 8 of the 16 fixed ones, both broken ones
    assert summary.gain_without_format_failures == pytest.approx(6 / 31)
    assert summary.interval_without_format_failures == tango_interval(8, 2, 31)
    assert (summary.train_seconds, summary.total_seconds, summary.peak_pss_gib) == (450.0, 600.0, 9.4)


def test_json_holds_every_field_as_plain_values(whole_run: Path) -> None:
    found = json.loads(json.dumps(summarise(whole_run).to_json(), allow_nan=False))
    assert found["run_dir"] == str(whole_run)
    assert found["interval"] == list(tango_interval(16, 2, 40))
    assert list(found) == [
        "run_dir",
        "accuracy_before",
        "accuracy_after",
        "gain",
        "interval",
        "gain_without_format_failures",
        "interval_without_format_failures",
        "format_failures_before",
        "format_failures_after",
        "rows",
        "train_seconds",
        "total_seconds",
        "peak_pss_gib",
    ]


def test_run_without_validation_is_unknown_not_zero(runs: Any) -> None:
    found = summarise(runs.make(facts={})).to_json()
    assert found.pop("rows") == 0
    found.pop("run_dir")
    assert set(found.values()) == {None}


def test_unjudged_rows_are_left_out_on_both_sides_and_counted(runs: Any) -> None:
    before = [runs.row("a", None), runs.row("b", False), runs.row("c", False), runs.row("d", "yes")]
    after = [runs.row("a", True), runs.row("b", True), runs.row("c", ...), runs.row("d", True)]
    comparison = compared(runs.make(validation={0: before, 8: after}))
    assert (comparison.rows, comparison.accuracy_before, comparison.accuracy_after) == (1, 0.0, 1.0)
    assert any("0.jsonl: 2 of 4 rows could not be judged" in note for note in comparison.notes)
    assert any("8.jsonl: 1 of 4 rows could not be judged" in note for note in comparison.notes)


def test_score_is_not_taken_for_correctness(runs: Any) -> None:
    rows = [runs.row("a", ..., score=1.0)]
    assert summarise(runs.make(validation={0: rows, 8: rows})).accuracy_after is None


@pytest.mark.parametrize(("right", "wrong"), [(True, False), (1, 0), (1.0, 0.0)])
def test_passed_may_be_a_number_of_zero_or_one(runs: Any, right: object, wrong: object) -> None:
    folder = runs.make(validation={0: [runs.row("a", wrong)], 8: [runs.row("a", right)]})
    assert summarise(folder).gain == 1.0


def test_rows_without_a_partner_are_left_out_and_counted(runs: Any) -> None:
    before = [runs.row("a", False), runs.row("b", True, format_failure=1)]
    torn = runs.lines([runs.row("a", True)]) + '{"input": "b", "outp'
    comparison = compared(runs.make(validation={0: before, 8: torn}))
    assert (comparison.rows, comparison.accuracy_before, comparison.accuracy_after) == (1, 0.0, 1.0)
    assert comparison.before is not None
    assert comparison.before.format_failures == 0.0
    assert any("1 row(s) of step 0 have no partner at step 8" in note for note in comparison.notes)
    assert any("validation/8.jsonl: 1 unreadable line" in note for note in comparison.notes)


def test_smallest_and_largest_step_are_compared_whatever_lies_between(runs: Any) -> None:
    folder = runs.make(
        validation={9: [runs.row("a", False)], 10: [runs.row("a", True)], 2: [runs.row("a", False)]},
    )
    comparison = compared(folder)
    assert [point.step for point in comparison.points] == [2, 9, 10]
    assert comparison.gain is not None
    assert comparison.gain.gain == 1.0


@pytest.mark.parametrize(("step", "side"), [(0, "accuracy_before"), (8, "accuracy_after")])
def test_single_validation_gives_one_side_and_no_gain(runs: Any, step: int, side: str) -> None:
    summary = summarise(runs.make(validation={step: [runs.row("a", True), runs.row("b", False)]}))
    assert getattr(summary, side) == 0.5
    assert [summary.accuracy_before, summary.accuracy_after].count(None) == 1
    assert (summary.gain, summary.interval, summary.rows) == (None, None, 2)


def test_unknown_format_failures_leave_the_readable_gain_unknown(runs: Any) -> None:
    folder = runs.make(
        validation={0: [runs.row("a", False, format_failure=...)], 8: [runs.row("a", True, format_failure=...)]}
    )
    summary = summarise(folder)
    assert summary.gain == 1.0
    assert (summary.gain_without_format_failures, summary.format_failures_before) == (None, None)


def test_repeated_prompt_is_said(runs: Any) -> None:
    twice = [runs.row("a", True), runs.row("a", False), runs.row("b", False)]
    comparison = compared(runs.make(validation={0: twice, 8: twice}))
    assert (comparison.rows, comparison.accuracy_before) == (2, 0.25)
    assert any("1 row(s) share a prompt" in note for note in comparison.notes)


def test_gain_by_data_source(whole_run: Path) -> None:
    lines = compared(whole_run).by_source
    assert [line.source for line in lines] == ["add", "larger"]
    assert [line.gain.pairs for line in lines if line.gain] == [20, 20]
    assert lines[1].format_failures_after == 0.05


def test_truncated_share_comes_from_the_rows_or_from_the_limit(runs: Any, whole_run: Path) -> None:
    before = compared(whole_run).before
    assert before is not None
    assert before.truncated_share(40) == 0.2
    assert before.truncated_share(None) is None
    rows = [runs.row("a", True, truncated=True), runs.row("b", True, truncated=False)]
    only = compared(runs.make(validation={0: rows}, name="told")).before
    assert only is not None
    assert only.truncated_share(40) == 0.5
