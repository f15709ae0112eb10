"""The record of who did what when: written line by line, read back, and refused where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.errors import WrongUse
from pangu_verl.scheduler.timeline import TimelineWriter
from pangu_verl.scheduler.timeline_reading import read_timeline

RUN: dict[str, Any] = {"mode": "pangu_ssp", "policy": "mask", "bound_versions": 2, "slots_per_replica": 8}
ATTEMPT = {"kind": "attempt", "replica": "a", "version": 3, "tokens": 57, "began_s": 11.0, "ended_s": 12.0}


def write(path: Path, at_s: float = 10.0) -> None:
    with TimelineWriter(path) as timeline:
        timeline.run(at_s=at_s, **RUN)
        timeline.attempt("a", 3, 57, at_s + 1.0, at_s + 2.5)
        timeline.attempt("b", None, 0, at_s + 1.0, at_s + 1.25)
        timeline.step(1, 3, waited_from_s=at_s, began_s=at_s + 2.5, ended_s=at_s + 4.0)
        timeline.publication(4, at_s + 4.0, at_s + 5.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "timeline.jsonl"


def test_a_line_is_an_object_of_the_kind_that_happened(path: Path) -> None:
    write(path)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"kind": "run", "at_s": 10.0, **RUN},
        {"kind": "attempt", "replica": "a", "version": 3, "tokens": 57, "began_s": 11.0, "ended_s": 12.5},
        {"kind": "attempt", "replica": "b", "version": None, "tokens": 0, "began_s": 11.0, "ended_s": 11.25},
        {"kind": "step", "step": 1, "version": 3, "waited_from_s": 10.0, "began_s": 12.5, "ended_s": 14.0},
        {"kind": "publication", "version": 4, "began_s": 14.0, "ended_s": 15.0},
    ]


def test_a_line_is_on_its_way_to_the_disk_before_the_file_is_closed(path: Path) -> None:
    timeline = TimelineWriter(path)
    timeline.run(at_s=1.0, **RUN)
    assert path.read_bytes().count(b"\n") == 1
    timeline.close()


def test_what_was_written_is_read_back(path: Path) -> None:
    write(path)
    found = read_timeline(path)
    assert found.sessions[0].run.slots_per_replica == 8 and found.sessions[0].ended_s == 15.0
    assert found.attempts.replicas == ("a", "b")
    assert found.attempts.replica.tolist() == [0, 1]
    assert found.attempts.version.tolist() == [3, -1]
    assert found.attempts.tokens.tolist() == [57, 0]
    assert found.attempts.ended_s.tolist() == [12.5, 11.25]
    assert [(step.step, step.waited_from_s, step.began_s) for step in found.steps] == [(1, 10.0, 12.5)]
    assert [publication.version for publication in found.publications] == [4]


def test_a_resumed_run_appends_a_session(path: Path) -> None:
    write(path)
    write(path, at_s=100.0)
    found = read_timeline(path)
    assert [(session.run.at_s, session.ended_s) for session in found.sessions] == [(10.0, 15.0), (100.0, 105.0)]
    assert len(found.attempts.version) == 4


def test_an_empty_file_is_an_empty_timeline(path: Path) -> None:
    path.write_bytes(b"")
    assert read_timeline(path).sessions == ()


def test_a_start_without_anything_is_a_session_of_no_length(path: Path) -> None:
    with TimelineWriter(path) as timeline:
        timeline.run(at_s=7.0, **RUN)
    assert [session.ended_s for session in read_timeline(path).sessions] == [7.0]


@given(lost=st.integers(1, 600))
def test_a_kill_loses_no_more_than_the_line_that_it_cut(lost: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("run") / "timeline.jsonl"
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    left = whole[:-lost].count(b"\n")
    found = read_timeline(path)
    assert len(found.sessions) + len(found.attempts.version) + len(found.steps) + len(found.publications) == left
    write(path, at_s=50.0)
    assert path.read_bytes().startswith(b"".join(whole.splitlines(keepends=True)[:left]))
    assert read_timeline(path).sessions[-1].ended_s == 55.0


def test_times_that_run_backwards_are_written_as_no_time(path: Path) -> None:
    with TimelineWriter(path) as timeline:
        timeline.run(at_s=10.0, **RUN)
        timeline.attempt("a", 1, 5, 12.0, 11.0)
        timeline.step(1, 1, waited_from_s=13.0, began_s=12.0, ended_s=14.0)
        timeline.publication(2, 15.0, 14.5)
    found = read_timeline(path)
    assert found.attempts.ended_s.tolist() == [12.0]
    assert (found.steps[0].began_s, found.steps[0].ended_s) == (13.0, 14.0)
    assert found.publications[0].ended_s == 15.0


DAMAGED = {
    "ended before it began": ATTEMPT | {"ended_s": 10.5},
    "no number": ATTEMPT | {"began_s": float("nan")},
    "endless": ATTEMPT | {"ended_s": float("inf")},
    "before the epoch": ATTEMPT | {"began_s": -1.0},
    "a text for a time": ATTEMPT | {"began_s": "11.0"},
    "true for a version": ATTEMPT | {"version": True},
    "a fraction of a version": ATTEMPT | {"version": 1.5},
    "tokens below 0": ATTEMPT | {"tokens": -1},
    "more tokens than are counted": ATTEMPT | {"tokens": 2**70},
    "a number for a name": ATTEMPT | {"replica": 7},
    "a key too many": ATTEMPT | {"colour": "red"},
    "a key too few": {name: value for name, value in ATTEMPT.items() if name != "tokens"},
    "an unknown kind": ATTEMPT | {"kind": "nap"},
    "a list": [1],
    "step 0": {"kind": "step", "step": 0, "version": 0, "waited_from_s": 1.0, "began_s": 2.0, "ended_s": 3.0},
    "began before it was waited for": {
        "kind": "step",
        "step": 1,
        "version": 0,
        "waited_from_s": 2.5,
        "began_s": 2.0,
        "ended_s": 3.0,
    },
    "no slots": {"kind": "run", "at_s": 1.0, **RUN, "slots_per_replica": 0},
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_line_that_no_writer_writes_is_refused_with_its_number(line: Any, path: Path) -> None:
    write(path)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    write(path, at_s=100.0)
    with pytest.raises(WrongUse, match=r"timeline\.jsonl, line 6: expected a line of a timeline, got .*is damaged"):
        read_timeline(path)


@pytest.mark.parametrize("line", [b"\x00" * 40, b"\xff\xfe", b'{"kind":"atte', b"[" * 5000])
def test_bytes_that_are_no_json_are_refused_with_their_line(line: bytes, path: Path) -> None:
    write(path)
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(WrongUse, match="line 6: expected a line of a timeline"):
        read_timeline(path)


def test_what_begins_without_a_run_is_refused(path: Path) -> None:
    path.write_text(json.dumps(ATTEMPT) + "\n")
    with pytest.raises(WrongUse, match="line 1: expected a line of kind 'run'"):
        read_timeline(path)


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(WrongUse, match=r"timeline\.jsonl cannot be read .*; give the timeline\.jsonl of a run"):
        read_timeline(path)


def test_a_file_of_many_blocks_is_read_as_one_of_few(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path)
    write(path, at_s=100.0)
    at_once = read_timeline(path)
    monkeypatch.setattr("pangu_verl.scheduler.timeline_reading._BLOCK_BYTES", 7)
    piecemeal = read_timeline(path)
    assert (piecemeal.sessions, piecemeal.steps, piecemeal.publications) == (
        at_once.sessions,
        at_once.steps,
        at_once.publications,
    )
    assert piecemeal.attempts.replicas == at_once.attempts.replicas
    np.testing.assert_array_equal(piecemeal.attempts.began_s, at_once.attempts.began_s)


def test_damage_is_numbered_over_all_blocks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path)
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    monkeypatch.setattr("pangu_verl.scheduler.timeline_reading._BLOCK_BYTES", 7)
    with pytest.raises(WrongUse, match="line 6: expected"):
        read_timeline(path)
