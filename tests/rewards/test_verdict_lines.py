"""The file of verdicts: whole lines, and what a killed run left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reward_rows import read_lines

from pangu_verl.errors import WrongUse
from pangu_verl.rewards.verdict_lines import VerdictFile

TEXTS = st.text(st.characters(), max_size=20)


def verdict(**fields: Any) -> dict[str, Any]:
    return {"id": "a", "domain": "math", "source": "maths", "score": 1.0, "passed": True, "reason": "fine", **fields}


def reopened(path: Path) -> list[dict[str, Any]]:
    with VerdictFile(path, resume=True, overwrite=False) as file:
        return list(file.kept())


def opened(path: Path, *, resume: bool = False, overwrite: bool = False) -> VerdictFile:
    return VerdictFile(path, resume=resume, overwrite=overwrite)


# --- resume ----------------------------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(reasons=st.lists(TEXTS, max_size=5), data=st.data())
def test_a_file_cut_anywhere_goes_on_after_its_last_whole_line(
    tmp_path: Path, reasons: list[str], data: st.DataObject
) -> None:
    path = tmp_path / "verdicts.jsonl"
    lines = [verdict(id=number, reason=reason) for number, reason in enumerate(reasons)]
    with opened(path, overwrite=True) as file:
        for line in lines:
            file.append(line)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    with opened(path, resume=True) as file:
        kept = list(file.kept())
        assert kept == lines[: whole[:cut].count(b"\n")]
        for line in lines[len(kept) :]:
            file.append(line)
    assert path.read_bytes() == whole


def test_a_file_that_is_not_there_yet_is_begun(tmp_path: Path) -> None:
    assert reopened(tmp_path / "verdicts.jsonl") == []


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\x00\x00",
        b"[]",
        b"{}",
        b"[" * 100_000,
        *(
            json.dumps(verdict(**fields)).encode()
            for fields in ({"id": None}, {"score": "1"}, {"score": 2}, {"score": True}, {"passed": 1}, {"source": None})
        ),
    ],
)
def test_a_whole_line_that_is_no_verdict_is_named_and_left_alone(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "verdicts.jsonl"
    content = json.dumps(verdict()).encode() + b"\n" + line + b"\n"
    path.write_bytes(content)
    with pytest.raises(WrongUse, match=r"verdicts\.jsonl line 2 is no verdict; .*--overwrite"):
        reopened(path)
    assert path.read_bytes() == content


# --- what is there is not lost -----------------------------------------------------------------------------------------


def test_a_file_that_is_there_is_wrong_use(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text("mine")
    with pytest.raises(WrongUse, match="exists; go on with it by --resume, or start afresh with --overwrite"):
        opened(path)
    assert path.read_text() == "mine"


def test_overwriting_starts_afresh(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text("mine\n" * 100)
    with opened(path, overwrite=True) as file:
        assert list(file.kept()) == []
        file.append(verdict())
    assert read_lines(path) == [verdict()]


def test_resuming_and_overwriting_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="give one of them"):
        opened(tmp_path / "verdicts.jsonl", resume=True, overwrite=True)


@pytest.mark.parametrize("place", [lambda folder: folder, lambda folder: folder / "missing" / "verdicts.jsonl"])
def test_a_place_that_takes_no_file_is_named(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    with pytest.raises(WrongUse, match="name a"), opened(place(tmp_path), overwrite=True):
        pass


def test_texts_that_no_file_takes_are_spelled_out(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    line = verdict(reason="\ud800 \x00 \u2028 ü")
    with opened(path) as file:
        file.append(line)
    assert path.read_bytes().isascii()
    assert read_lines(path) == [line]
