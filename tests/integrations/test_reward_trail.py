"""The record of rewards that a run leaves on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from judged_rows import judged_row, opinion

from pangu_verl.integrations.verl.reward_trail import CHANGES, RELIABILITY, VERDICTS, RewardTrail
from pangu_verl.mars.reliability import Change, Reliability

CHANGE = Change(source="maths", domain="math", before="trusted", after="demoted", reason="wrong")


def test_each_verdict_is_a_line_with_all_opinions(tmp_path: Path) -> None:
    trail = RewardTrail(tmp_path / "rewards")
    row = replace(judged_row(), opinions=(opinion("maths", True), replace(opinion("verifier", False), is_audit=True)))
    trail.note(row)
    trail.note(judged_row(None, reason="no \ud800 gold\n"))
    trail.note_changes([CHANGE])
    first, second = map(json.loads, (tmp_path / "rewards" / VERDICTS).read_text().splitlines())
    assert (first["id"], first["domain"], first["source"], first["score"]) == ("7", "math", "maths", 1.0)
    assert [(each["source"], each["passed"], each["is_audit"]) for each in first["opinions"]] == [
        ("maths", True, False),
        ("verifier", False, True),
    ]
    assert (second["score"], second["reason"]) == (None, "no \ud800 gold\n")
    (change,) = map(json.loads, (tmp_path / "rewards" / CHANGES).read_text().splitlines())
    assert (change["before"], change["after"], change["reason"]) == ("trusted", "demoted", "wrong")


def test_a_resumed_run_goes_on_behind_a_line_that_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / VERDICTS).write_text('{"id": "1"}\n{"id": "2"')
    RewardTrail(tmp_path).note(judged_row())
    lines = (tmp_path / VERDICTS).read_text().splitlines()
    assert lines[:2] == ['{"id": "1"}', '{"id": "2"']
    assert json.loads(lines[2])["id"] == "7"


def test_a_resumed_run_goes_on_from_where_its_checkpoint_stood(tmp_path: Path) -> None:
    trail = RewardTrail(tmp_path)
    trail.note(judged_row())
    sizes = trail.sizes()
    trail.note(judged_row())
    trail.note_changes([CHANGE])
    resumed = RewardTrail(tmp_path)
    resumed.cut_back(sizes)
    resumed.note(judged_row(False))
    lines = [json.loads(line) for line in (tmp_path / VERDICTS).read_text().splitlines()]
    assert [line["passed"] for line in lines] == [True, False]
    assert (tmp_path / CHANGES).read_text() == ""


@pytest.mark.parametrize(
    "sizes", [None, [], {"verdicts.jsonl": "long"}, {"verdicts.jsonl": -1}, {"verdicts.jsonl": 10**9}]
)
def test_sizes_that_are_none_cut_nothing_off_that_they_do_not_name(tmp_path: Path, sizes: object) -> None:
    trail = RewardTrail(tmp_path)
    trail.note(judged_row())
    trail.cut_back(sizes)
    assert len((tmp_path / VERDICTS).read_text().splitlines()) == 1


def test_measured_rates_are_replaced_as_a_whole(tmp_path: Path) -> None:
    trail = RewardTrail(tmp_path)
    trail.keep_rates([])
    assert not (tmp_path / RELIABILITY).exists()
    measured = Reliability()
    for _ in range(2):
        measured.audit("maths", "math", "accept", is_wrong=False)
        trail.keep_rates(measured.rates())
    (rate,) = json.loads((tmp_path / RELIABILITY).read_text())["rates"]
    assert (rate["source"], rate["claim"], rate["audited"], rate["wrong"]) == ("maths", "accept", 2, 0)


def test_a_disk_that_takes_no_more_ends_the_record_and_not_the_run(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    trail = RewardTrail(blocked)
    trail.note(judged_row())
    trail.note_changes([CHANGE])
    assert blocked.read_text() == ""


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    trail = RewardTrail(None)
    trail.note(judged_row())
    trail.note_changes([CHANGE])
    trail.cut_back(trail.sizes())
    assert list(tmp_path.iterdir()) == []
