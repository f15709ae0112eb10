"""Folders as they are found: whole, torn, repeated, with pieces missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pangu_verl.errors import WrongUse
from pangu_verl.report.run_folder import read_run_folder


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"nowhere' does not exist; a run folder holds run\.json") as caught:
        read_run_folder(tmp_path / "nowhere")
    assert "\n" not in str(caught.value)


def test_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WrongUse, match="file' is not a folder"):
        read_run_folder(tmp_path / "file")


def test_folder_without_run_json_and_metrics_is_refused(runs: Any) -> None:
    folder = runs.make(facts=None, metrics=None, validation={0: [runs.row("a", True)]})
    with pytest.raises(WrongUse, match=r"holds neither run\.json nor metrics\.jsonl"):
        read_run_folder(folder)


@pytest.mark.parametrize("missing", ["facts", "metrics"])
def test_either_file_alone_is_enough(runs: Any, missing: str) -> None:
    folder = read_run_folder(runs.make(**{missing: None}))
    assert any("is missing" in note for note in folder.notes)


def test_torn_last_line_is_skipped_and_said(runs: Any) -> None:
    text = runs.lines([runs.training_line(1), runs.training_line(2)]) + '{"step":3,"data":{"critic/sc'
    folder = read_run_folder(runs.make(metrics=text))
    assert list(folder.metrics) == [1, 2]
    assert any("line 3" in note for note in folder.notes)


def test_whole_last_line_without_its_line_feed_counts(runs: Any) -> None:
    folder = read_run_folder(runs.make(metrics='{"step":1,"data":{"a":1.0}}'))
    assert folder.metrics == {1: {"a": 1.0}}


@pytest.mark.parametrize("junk", ["\x00" * 50, "[" * 100_000, "[1, 2]", "null", '{"a": ' + "1" * 5000 + "}"])
def test_junk_between_lines_is_skipped(runs: Any, junk: str) -> None:
    text = runs.lines([runs.training_line(1)]) + junk + "\n" + runs.lines([runs.training_line(2)])
    assert list(read_run_folder(runs.make(metrics=text)).metrics) == [1, 2]


def test_of_a_repeated_step_the_last_wins_metric_by_metric(runs: Any) -> None:
    first = {"step": 2, "data": {"critic/score/mean": 0.1, "timing_s/gen": 5.0}}
    again = {"step": 2, "data": {"critic/score/mean": 0.9}}
    folder = read_run_folder(runs.make(metrics=[first, runs.training_line(3), again]))
    assert folder.metrics[2] == {"critic/score/mean": 0.9, "timing_s/gen": 5.0}
    assert any("1 step(s) more than once" in note for note in folder.notes)


def test_values_that_are_no_numbers_are_absent(runs: Any) -> None:
    line = '{"step":1,"data":{"a":null,"b":NaN,"c":Infinity,"d":"x","e":true,"f":2,"g":1' + "0" * 400 + "}}\n"
    assert read_run_folder(runs.make(metrics=line)).metrics == {1: {"f": 2.0}}


@pytest.mark.parametrize("step", ["-1", "1.5", "null", '"x"', "true", "1e300"])
def test_line_without_a_proper_step_is_ignored(runs: Any, step: str) -> None:
    assert read_run_folder(runs.make(metrics=f'{{"step":{step},"data":{{}}}}\n')).metrics == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00\x00", '{"name": "x"'])
def test_unreadable_run_json_leaves_everything_unknown(runs: Any, text: str) -> None:
    folder = read_run_folder(runs.make(facts=text))
    assert folder.facts.status is None
    assert any("run.json holds no JSON object" in note for note in folder.notes)


def test_facts_of_the_wrong_type_are_unknown(runs: Any) -> None:
    wrong = {"total_seconds": "long", "command": "make", "versions": [], "machine": 3, "engine": "busy", "cores": {}}
    facts = read_run_folder(runs.make(facts=wrong)).facts
    assert (facts.total_seconds, facts.command, facts.versions, facts.cores, facts.engine) == (None, (), {}, None, None)


def test_engine_shares_follow_from_its_seconds(runs: Any) -> None:
    engine = read_run_folder(runs.make()).facts.engine
    assert engine is not None
    assert (engine.busy_share, engine.tokens_per_busy_second) == (0.9, 50.0)


def test_validation_files_go_by_number_and_others_are_left_alone(runs: Any) -> None:
    rows = [runs.row("a", True)]
    folder = runs.make(validation={10: rows, 2: rows, 0: ""})
    (folder / "validation" / "best.jsonl").write_text("{}")
    (folder / "validation" / "2.jsonl.tmp").write_text("{}")
    found = read_run_folder(folder)
    assert list(found.validation_files) == [0, 2, 10]
    assert [validation.step for validation in found.validations()] == [2, 10]  # 0 holds no row


def test_line_separators_inside_model_output_do_not_end_a_line(runs: Any) -> None:
    output = "a\u2028b\u0085c\x0bd\x1ce"
    folder = read_run_folder(runs.make(validation={0: [runs.row("a", True, output=output)]}))
    (validation,) = folder.validations()
    assert validation.rows[0].output == output


def test_resume_hint_repeats_the_command_quoted_for_a_shell(runs: Any) -> None:
    facts = read_run_folder(runs.make(facts={"command": ["pangu-verl", "train", "name=a b"]})).facts
    assert facts.resume_hint(Path("runs/x y")) == "pangu-verl train 'name=a b' --resume --run-dir 'runs/x y'"
    facts = read_run_folder(runs.make(facts={"command": ["t", "--run-dir", "r", "--resume"]}, name="b")).facts
    assert facts.resume_hint(Path("r")) == "t --run-dir r --resume"


def session(*steps: int) -> str:
    return "".join(f'{{"step": {step}, "data": {{"a": {step}.0}}}}\n' for step in steps)


def test_what_earlier_sessions_logged_comes_first_in_their_order(runs: Any) -> None:
    folder = runs.make(metrics=session(11))
    for number, step in ((10, 10), (2, 2), (1, 1), (9, 9)):
        (folder / f"metrics.{number:03d}.jsonl").write_text(session(step))
    assert list(read_run_folder(folder).metrics) == [1, 2, 9, 10, 11]


def test_of_a_step_in_two_sessions_the_later_session_wins(runs: Any) -> None:
    folder = runs.make(metrics='{"step":2,"data":{"a":0.9}}\n')
    (folder / "metrics.001.jsonl").write_text('{"step":1,"data":{"a":0.1}}\n{"step":2,"data":{"a":0.2,"b":5}}\n')
    (folder / "metrics.002.jsonl").write_text('{"step":2,"data":{"a":0.5}}\n')
    found = read_run_folder(folder)
    assert found.metrics == {1: {"a": 0.1}, 2: {"a": 0.9, "b": 5.0}}
    assert "metrics.001.jsonl and metrics.002.jsonl and metrics.jsonl: 1 step(s) more than once" in found.notes[0]


def test_a_torn_line_of_an_earlier_session_is_said_by_its_file(runs: Any) -> None:
    folder = runs.make(metrics=session(2))
    (folder / "metrics.001.jsonl").write_text(session(1) + '{"step": 2, "da')
    found = read_run_folder(folder)
    assert list(found.metrics) == [1, 2]
    assert [note.partition(":")[0] for note in found.notes] == ["metrics.001.jsonl"]


def test_a_session_that_logged_nothing_yet_is_said(runs: Any) -> None:
    folder = runs.make(facts=None, metrics=None)
    (folder / "metrics.001.jsonl").write_text(session(1))
    found = read_run_folder(folder)
    assert list(found.metrics) == [1]
    assert any(
        "metrics.jsonl is missing: nothing is known of the steps after the last resume" in n for n in found.notes
    )


@pytest.mark.parametrize(
    "name", ["metrics.old.jsonl", "metrics..jsonl", "metrics.1.json", "metrics.\u0661.jsonl", "metrics.jsonl.1"]
)
def test_files_that_only_look_like_metrics_are_left_alone(runs: Any, name: str) -> None:
    folder = runs.make(metrics=session(2))
    (folder / name).write_text(session(1))
    assert list(read_run_folder(folder).metrics) == [2]


def test_a_folder_in_place_of_a_file_of_metrics_is_left_alone(runs: Any) -> None:
    folder = runs.make(metrics=session(2))
    (folder / "metrics.001.jsonl").mkdir()
    assert list(read_run_folder(folder).metrics) == [2]
