"""config.yaml as text: flat, with the run's own folder left out, and harmless whatever it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.report.configuration import NOT_SET, RUN_FOLDER, Settings, differences, read_settings


def settings_of(runs: Any, config: str, name: str = "run") -> Settings | None:
    return read_settings(runs.make(config=config, name=name), [])


def test_nested_keys_are_joined_and_values_stay_as_written(runs: Any) -> None:
    config = "a:\n  b: 3.5e-05\n  c: null\n  d: {}\n  'n': 8\ne: [console, file]\nf: ''\ng: []\nh: '{x}'\n"
    assert settings_of(runs, config) == {
        "a.b": "3.5e-05",
        "a.c": "null",
        "a.d": "{}",
        "a.n": "8",
        "e": "[console, file]",
        "f": '""',
        "g": "[]",
        "h": "{x}",
    }


def test_lists_of_mappings_are_flattened_by_place(runs: Any) -> None:
    assert settings_of(runs, "a:\n- {b: 1}\n- 2\n") == {"a.0.b": "1", "a.1": "2"}


def test_places_in_the_runs_own_folder_are_the_same_for_all(runs: Any, tmp_path: Path) -> None:
    lines = "data: {{train: {0}/data/train.parquet, val: [{0}/data/a, {0}, {0}x]}}\n"
    found = [settings_of(runs, lines.format(tmp_path / name), name) for name in ("one", "two")]
    assert list(differences(found)) == ["data.val"]
    assert found[0] is not None
    assert found[0]["data.train"] == f"{RUN_FOLDER}/data/train.parquet"
    assert found[0]["data.val"] == f"[{RUN_FOLDER}/data/a, {RUN_FOLDER}, {tmp_path}/onex]"


def test_a_run_that_was_moved_still_knows_its_old_folder(runs: Any) -> None:
    config = "trainer: {default_local_dir: /old/place/checkpoints}\ndata: {train: /old/place/data/x}\n"
    assert settings_of(runs, config) == {
        "trainer.default_local_dir": f"{RUN_FOLDER}/checkpoints",
        "data.train": f"{RUN_FOLDER}/data/x",
    }


BOMB = "a: &a {x: 1, y: 1}\n" + "".join(
    f"{chr(98 + index)}: &{chr(98 + index)} {{x: *{chr(97 + index)}, y: *{chr(97 + index)}}}\n" for index in range(20)
)


@pytest.mark.parametrize(
    "config",
    [
        "",
        "text",
        "[1, 2]",
        "a: [",
        "a: &a {b: *a}",
        "a: &a [[*a]]",
        BOMB,
        "[" * 5000,
        "{a: " * 5000,
        "\x00",
        "? [a]\n: b",
    ],
)
def test_what_is_no_configuration_is_unknown_and_said(runs: Any, config: str) -> None:
    notes: list[str] = []
    assert read_settings(runs.make(config=config), notes) is None
    assert notes == ["config.yaml cannot be read as a configuration: how the run was configured is unknown."]


def test_without_the_file_the_configuration_is_unknown(runs: Any) -> None:
    notes: list[str] = []
    assert read_settings(runs.make(), notes) is None
    assert notes == ["config.yaml is missing: how the run was configured is unknown."]


@pytest.mark.parametrize("value", ["!!python/object/apply:os.getcwd []", "${oc.env:HOME}", "!include /etc/hostname"])
def test_nothing_in_a_configuration_is_run_or_resolved(runs: Any, value: str) -> None:
    found = settings_of(runs, f"a: {value}\n")
    assert found is not None
    assert found["a"] in ("[]", "${oc.env:HOME}", "/etc/hostname")


def test_a_key_that_one_lacks_differs_and_an_unknown_configuration_does_not() -> None:
    found = differences([{"a": "1", "b": "2"}, None, {"a": "1"}])
    assert found == {"b": ("2", None, NOT_SET)}


SETTINGS = st.one_of(st.none(), st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"])))


@given(st.lists(SETTINGS, max_size=4))
def test_keys_differ_exactly_if_two_known_configurations_do(found: list[dict[str, str] | None]) -> None:
    known = [settings for settings in found if settings is not None]
    differing = differences(found)
    for key in "abc":
        assert (key in differing) == (len({settings.get(key) for settings in known}) > 1)
    assert all(len(values) == len(found) for values in differing.values())
