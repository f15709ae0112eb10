"""Progress read from what a run writes: each whole line once, whatever else the file holds."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from pangu_verl import progress
from pangu_verl.progress import RunProgress, describe, job_pss_gib


def line(step: int, **data: Any) -> str:
    names = {"score": "critic/score/mean", "seconds": "timing_s/step", "testing": "timing_s/testing"}
    return json.dumps({"step": step, "data": {names.get(name, name): value for name, value in data.items()}}) + "\n"


def shown(folder: Path, steps: int = 3, **console: Any) -> str:
    """What a watch over a folder prints from its beginning to its end."""
    output = io.StringIO()
    with RunProgress(folder, steps, Console(file=output, width=120, **console)):
        pass
    return output.getvalue()


def test_each_step_is_one_plain_line_where_there_is_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(line(0, note=1) + line(1, score=0.25, seconds=2.04) + line(2, score=0.5))
    assert shown(tmp_path).splitlines() == ["step 0/3: step 0", "step 1/3: reward 0.25, 2.0 s", "step 2/3: reward 0.50"]


def test_a_run_without_metrics_shows_nothing(tmp_path: Path) -> None:
    assert shown(tmp_path) == ""
    assert shown(tmp_path / "missing") == ""
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_last_is_still_shown_at_the_end(tmp_path: Path) -> None:
    output = io.StringIO()
    with RunProgress(tmp_path, 3, Console(file=output)):
        (tmp_path / "metrics.jsonl").write_text(line(3, score=1.0))
    assert "step 3/3: reward 1.00" in output.getvalue()


def test_a_torn_line_waits_for_its_end(tmp_path: Path) -> None:
    watch = RunProgress(tmp_path, 3, Console(file=io.StringIO()))
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text(line(1) + line(2)[:12])
    assert [step for step, _ in watch._new_steps()] == [1]
    metrics.write_text(line(1) + line(2))
    assert [step for step, _ in watch._new_steps()] == [2]
    assert watch._new_steps() == []


def test_a_line_may_be_torn_inside_a_character(tmp_path: Path) -> None:
    watch = RunProgress(tmp_path, 3, Console(file=io.StringIO()))
    (tmp_path / "metrics.jsonl").write_bytes(line(1).encode() + '{"step": 2, "data": {"é'.encode()[:-1])
    assert [step for step, _ in watch._new_steps()] == [1]


@pytest.mark.parametrize(
    "junk", ["", "{", "null", "[]", "3", '{"step": 1}', '{"step": "x", "data": {}}', '{"step":1,"data":[]}']
)
def test_junk_between_the_lines_is_left_out(tmp_path: Path, junk: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(line(1) + junk + "\n" + line(2))
    assert shown(tmp_path).splitlines() == ["step 1/3: step 1", "step 2/3: step 2"]


def test_line_separators_inside_a_name_do_not_end_a_line(tmp_path: Path) -> None:
    entry = {"step": 1, "data": {"val-core/a\u2028b/reward/mean@1": 0.5}}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(entry, ensure_ascii=False) + "\n", encoding="utf-8")
    assert shown(tmp_path) == "step 1/3: validation 0.50\n"


def test_values_that_are_no_numbers_are_absent(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(line(1, score=None, seconds="long") + line(2, score=0.5, seconds=None))
    assert shown(tmp_path).splitlines() == ["step 1/3: step 1", "step 2/3: reward 0.50"]


def test_a_file_that_starts_again_is_followed(tmp_path: Path) -> None:
    watch = RunProgress(tmp_path, 3, Console(file=io.StringIO()))
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text(line(1) + line(2))
    watch._new_steps()
    metrics.write_text("")
    assert watch._new_steps() == []
    metrics.write_text(line(3))
    assert [step for step, _ in watch._new_steps()] == [3]


def test_on_a_terminal_there_is_a_bar(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(line(2, score=0.25))
    output = shown(tmp_path, force_terminal=True)
    assert "2/3" in output
    assert "reward 0.25" in output


def test_the_bar_leaves_what_others_print_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metrics.jsonl").write_text(line(1))
    seen: list[object] = []
    streams = (sys.stdout, sys.stderr)

    def noted(step: int, metrics: dict[str, float]) -> str:
        seen.append((sys.stdout, sys.stderr))
        return describe(step, metrics)

    monkeypatch.setattr(progress, "describe", noted)
    shown(tmp_path, force_terminal=True)
    assert seen == [streams]


def test_an_error_of_the_run_passes_and_the_watch_ends(tmp_path: Path) -> None:
    watch = RunProgress(tmp_path, 3, Console(file=io.StringIO()))
    with pytest.raises(ZeroDivisionError), watch:
        raise ZeroDivisionError
    assert not watch._thread.is_alive()


# --- time and memory -------------------------------------------------------------------------------------------------


def test_training_time_runs_from_the_first_step_to_the_last_without_the_validation_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    watch = RunProgress(tmp_path, 3, Console(file=io.StringIO()))
    written = ""
    for seen_s, text in (
        (50.0, line(0, score=0.5)),
        (110.0, line(1, seconds=10.0)),
        (160.0, line(2, seconds=40.0, testing=30.0)),
    ):
        now_s[0] = seen_s
        written += text
        (tmp_path / "metrics.jsonl").write_text(written)
        watch._new_steps()
    # The first step began at 100; the second ended at 130, before its validation.
    assert watch.train_seconds == 30.0


def test_without_a_training_step_no_time_was_spent(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(line(0, score=0.5))
    watch = RunProgress(tmp_path, 3, Console(file=io.StringIO()))
    with watch:
        pass
    assert watch.train_seconds == 0.0


def test_the_peak_of_memory_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_MEASURE_EVERY_S", -1.0)
    sizes = iter([3.0, 5.0])
    monkeypatch.setattr(progress, "job_pss_gib", lambda: next(sizes, 4.0))
    watch = RunProgress(tmp_path, 3, Console(file=io.StringIO()))
    watch._ended.set()
    watch._watch()
    watch._watch()
    watch._watch()
    assert watch.peak_pss_gib == 5.0


def test_memory_of_this_process_is_counted() -> None:
    assert 0.001 < job_pss_gib() < 1000


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({}, "step 7"),
        ({"other": 1.0}, "step 7"),
        (
            {"critic/score/mean": 0.256, "response_length/mean": 30.4, "timing_s/step": 9.96},
            "reward 0.26, 30 tokens, 10.0 s",
        ),
        (
            {"val-core/a/reward/mean@1": 0.5, "val-core/b/reward/mean@1": 0.25, "val-core/a/acc/mean@1": 9},
            "validation 0.38",
        ),
    ],
)
def test_a_step_in_a_few_words(metrics: dict[str, float], words: str) -> None:
    assert describe(7, metrics) == words
