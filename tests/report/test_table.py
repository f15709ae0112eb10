"""The table: what is marked, and what is merely unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pangu_verl.report.columns import read_columns
from pangu_verl.report.table import Row, Section, configuration, prompts_differ, sections
from pangu_verl.report.wording import UNKNOWN


def table(*folders: Any) -> list[Section]:
    return sections(read_columns(folders))


def settings(*folders: Any) -> Section:
    return configuration(read_columns(folders))


def row(name: str, *folders: Any) -> Row:
    (found,) = [row for section in table(*folders) for row in section.rows if row.name == name]
    return found


def texts(found: Row) -> list[str]:
    return [cell.text for cell in found.cells]


def facts(runs: Any, **more: Any) -> dict[str, Any]:
    return {**runs.facts, **more}


def test_runs_that_are_alike_have_no_marks(runs: Any) -> None:
    folders = [runs.make_whole(name=name, config="a: 1\n") for name in ("one", "two")]
    assert not [row.name for section in table(*folders) for row in section.rows if row.differs]
    assert settings(*folders) == Section(title="Differences in config.yaml: none", rows=())


def test_what_differs_is_marked_and_what_is_not_the_first_runs_is_shaded(runs: Any) -> None:
    folders = [runs.make(name=str(seed), facts=facts(runs, seed=seed)) for seed in (7, 8, 9)]
    folders.append(runs.make(name="again", facts=facts(runs, seed=7)))
    found = row("seed", *folders)
    assert texts(found) == ["7", "8", "9", "7"]
    assert found.differs
    assert [cell.is_other for cell in found.cells] == [False, True, True, False]


def test_the_unknown_is_neither_equal_nor_different(runs: Any) -> None:
    folders = [runs.make(name="known"), runs.make(name="unknown", facts="{")]
    found = row("seed", *folders)
    assert (texts(found), found.differs) == (["7", UNKNOWN], False)
    assert not any(cell.is_other for cell in row("seed", *reversed(folders)).cells)


def test_an_empty_run_is_unknown_throughout_and_never_zero(runs: Any) -> None:
    found = table(runs.make_whole(), runs.make(name="empty", facts={}, metrics=[]))
    assert {row.cells[1].text for section in found for row in section.rows} == {UNKNOWN}


def test_outcome_has_gain_with_interval(runs: Any) -> None:
    folders = [runs.make_whole()]
    assert texts(row("accuracy before", *folders)) == ["0.30"]
    assert texts(row("accuracy after", *folders)) == ["0.65"]
    (gain,) = row("gain", *folders).cells
    assert (gain.text, gain.more) == ("+35 points", "95% interval 16 to 52")
    assert texts(row("format failures", *folders)) == ["20% → 2.5%"]


def test_a_gain_that_may_be_chance_is_called_so(runs: Any) -> None:
    rows = [runs.row(f"q{index}", index % 2 == 0) for index in range(9)]
    (gain,) = row("gain", runs.make(validation={0: rows, 4: rows})).cells
    assert gain.more.endswith(", includes 0")


def test_costs_are_those_of_the_run(runs: Any) -> None:
    folder = runs.make()
    expected = {
        "training": "7 min 30 s",
        "in total": "10 min 0 s",
        "median step": "28.0 s",
        "median generation": "6.0 s",
        "median update": "20.0 s",
        "median weight transfer": "0.50 s",
        "median other": "1.5 s",
        "peak memory": "9.4 GiB",
    }
    assert {name: row(name, folder).cells[0].text for name in expected} == expected


def test_versions_are_shown_where_they_differ(runs: Any) -> None:
    other = facts(runs, versions={"verl": "0.9.1", "torch": "2.11.0", "ray": "2.60"})
    folders = [runs.make(name="one"), runs.make(name="two", facts=other), runs.make(name="three", facts={})]
    assert texts(row("version of torch", *folders)) == ["2.10.0", "2.11.0", UNKNOWN]
    assert texts(row("version of ray", *folders)) == ["not set", "2.60", UNKNOWN]
    assert "version of verl" not in [row.name for row in table(*folders)[0].rows]


def test_versions_that_agree_are_counted(runs: Any) -> None:
    folders = [runs.make(name=name) for name in ("one", "two")]
    assert texts(row("versions that differ", *folders)) == ["none of 2", "none of 2"]


def test_commits_are_shortened_after_they_were_compared(runs: Any) -> None:
    commits = ["a" * 39 + "b", "a" * 39 + "c", "main"]
    folders = [runs.make(name=str(index), facts=facts(runs, commit=commit)) for index, commit in enumerate(commits)]
    found = row("commit", *folders)
    assert texts(found) == ["a" * 9, "a" * 9, "main"]
    assert [cell.is_other for cell in found.cells] == [False, True, True]


def test_keys_of_the_configuration_that_differ_have_rows(runs: Any) -> None:
    configs = {"one": "a: {b: 1, c: 1}\n", "two": "a: {b: 2, c: 1}\n", "three": "[", "four": "a: {c: 1}\n"}
    section = settings(*[runs.make(name=name, config=config) for name, config in configs.items()])
    assert section.title == "Differences in config.yaml: 1"
    assert [row.name for row in section.rows] == ["a.b"]
    assert texts(section.rows[0]) == ["1", "2", UNKNOWN, "not set"]


@pytest.mark.parametrize("config", [None, "["])
def test_one_configuration_alone_differs_from_nothing(runs: Any, config: str | None) -> None:
    section = settings(runs.make(name="one", config="a: 1\n"), runs.make(name="two", config=config))
    assert section.title == "Differences in config.yaml: unknown"
    assert section.rows == ()
    assert section.remark.startswith("Fewer than two of the runs")


def test_of_very_many_keys_some_are_shown_and_the_rest_counted(runs: Any) -> None:
    folders = [
        runs.make(name=name, config="".join(f"k{index}: {name}\n" for index in range(1202))) for name in ("one", "two")
    ]
    section = settings(*folders)
    assert len(section.rows) == 200
    assert section.remark == "1,002 more keys differ."


def test_long_values_are_cut_after_they_were_compared(runs: Any) -> None:
    folders = [runs.make(name=name, config=f"a: {'x' * 5000}{name}\n") for name in ("one", "two")]
    found = settings(*folders).rows[0]
    assert texts(found) == ["x" * 160 + " … (5,003 characters)"] * 2
    assert found.cells[1].is_other


def test_the_sign_for_the_run_folder_is_explained(runs: Any, tmp_path: Path) -> None:
    section = settings(*[runs.make(name=name, config=f"a: {tmp_path}/one/x\n") for name in ("one", "two")])
    assert texts(section.rows[0]) == ["<run folder>/x", f"{tmp_path}/one/x"]
    assert section.remark == "<run folder> stands for the folder of each run."


def test_other_validation_prompts_are_noticed(runs: Any) -> None:
    same = [runs.make(name=name, validation={0: [runs.row("a", True)]}) for name in ("one", "two")]
    other = runs.make(name="other", validation={0: [runs.row("b", True)]})
    none = runs.make(name="none")
    assert not prompts_differ(read_columns([*same, none]))
    assert prompts_differ(read_columns([*same, other]))


def test_rewards_are_set_side_by_side_by_source(runs: Any) -> None:
    passed, failed, silent = (runs.verdict("maths", passed) for passed in (True, False, None))
    one = runs.add_rewards(runs.make(name="one"), [passed, passed, failed, silent])
    other = runs.add_rewards(runs.make(name="other"), [runs.verdict("code", True)])
    silent_run = runs.make(name="without")
    maths, code = (row(name, one, other, silent_run) for name in ("maths", "code"))
    assert texts(maths) == ["67% passed", UNKNOWN, UNKNOWN]
    assert maths.cells[0].more == "25% of 4 unjudged"
    assert texts(code) == [UNKNOWN, "100% passed", UNKNOWN]


def test_without_any_rewards_there_is_no_section_of_them(runs: Any) -> None:
    assert "Rewards by source" not in [section.title for section in table(runs.make_whole())]


def test_of_many_sources_those_with_most_rows_are_compared(runs: Any) -> None:
    verdicts = [runs.verdict(f"source {index:02d}", True) for index in range(20) for _ in range(index + 1)]
    (section,) = [
        section for section in table(runs.add_rewards(runs.make(), verdicts)) if section.title == "Rewards by source"
    ]
    assert [found.name for found in section.rows] == [f"source {index:02d}" for index in range(8, 20)]
