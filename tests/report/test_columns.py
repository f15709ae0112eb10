"""The runs of a page: every one that was asked for, each under a name of its own."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.errors import WrongUse
from pangu_verl.report.columns import labels, read_columns


def test_runs_are_called_by_their_folders_in_the_order_asked(runs: Any) -> None:
    folders = [runs.make(name=name) for name in ("second", "first")]
    assert [column.label for column in read_columns(folders)] == ["second", "first"]


def test_folders_of_one_name_are_told_apart(runs: Any) -> None:
    folders = [runs.make(name=name) for name in ("a/run", "b/run", "other")]
    assert [column.label for column in read_columns(folders)] == ["a/run", "b/run", "other"]


def test_as_much_of_the_path_is_shown_as_it_takes() -> None:
    places = [Path("/x/one/deep/run"), Path("/y/one/deep/run"), Path("/one/run"), Path("/run")]
    assert labels(places) == ["x/one/deep/run", "y/one/deep/run", "one/run", "/run"]


NAMES = st.lists(st.sampled_from(["a", "b", "run", "\u202e", "\ufeff"]), min_size=1, max_size=4)


@given(st.lists(NAMES.map(lambda parts: Path(PurePosixPath("/", *parts))), unique=True, max_size=6))
def test_no_two_folders_share_a_name_that_can_be_shown(places: list[Path]) -> None:
    shown = [str(place).replace("\u202e", "\ufffd").replace("\ufeff", "\ufffd") for place in places]
    assert len(set(labels(places))) == len(set(shown))


@pytest.mark.parametrize("again", ["run", "./run", "run/../run", "link"])
def test_the_same_folder_twice_is_refused_by_both_its_names(runs: Any, tmp_path: Path, again: str) -> None:
    folder = runs.make()
    (tmp_path / "link").symlink_to(folder)
    twice = Path(os.path.join(tmp_path, again))
    with pytest.raises(WrongUse, match=r"is the same folder as .*name each run once") as caught:
        read_columns([folder, runs.make(name="other"), twice])
    assert str(folder) in str(caught.value)
    assert str(twice) in str(caught.value)


def test_a_folder_that_is_no_run_is_named(runs: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongUse, match=r"empty' holds neither run\.json nor metrics\.jsonl"):
        read_columns([runs.make(), tmp_path / "empty"])


def test_what_a_run_lacks_is_said(runs: Any) -> None:
    (column,) = read_columns([runs.make(facts="{", metrics=[])])
    for part in ("run.json holds no JSON object", "No training step", "No validation row", "config.yaml is missing"):
        assert any(part in note for note in column.notes)


def test_a_whole_run_needs_no_notes(runs: Any) -> None:
    (column,) = read_columns([runs.make_whole(config="trainer:\n  seed: 1\n")])
    assert column.notes == ()
    assert column.settings == {"trainer.seed": "1"}


def test_a_single_validation_is_said(runs: Any) -> None:
    (column,) = read_columns([runs.make(validation={0: [runs.row("a", True)]})])
    assert any("one validation only" in note for note in column.notes)
