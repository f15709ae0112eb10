"""The notebook of the examples, run cell by cell on run folders in several states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from run_folders import Runs

NOTEBOOK = Path(__file__).parents[2] / "examples" / "read_a_run.ipynb"


def cells(kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def read() -> dict[str, Any]:
    """Run the code cells in one namespace and return it."""
    names: dict[str, Any] = {}
    for cell in cells("code"):
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    return names


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    """Run folders where a user has them, seen from the notebook's place; what the notebook sets for good is undone."""
    (tmp_path / "examples").mkdir()
    monkeypatch.chdir(tmp_path / "examples")
    backend = plt.get_backend()
    plt.switch_backend("Agg")
    with pd.option_context("display.max_colwidth", 50):
        yield Runs(tmp_path / "runs")
    plt.close("all")
    plt.switch_backend(backend)


def test_it_reads_the_newest_run(project: Runs) -> None:
    project.make(name="20260101-000000-older", facts={"name": "older"})
    project.make_whole(name="20260102-000000-newer")
    names = read()
    assert names["RUN"].name == "20260102-000000-newer"
    assert names["facts"]["seed"] == 7
    assert list(names["training"].index) == [1, 2, 3, 4]
    assert names["by_step"]["passed"].to_dict() == {0: 0.3, 4: 0.65}
    assert names["by_step"]["format_failure"].to_dict() == {0: 0.2, 4: 0.025}
    assert len(names["wrong"]) == 14
    assert names["parts"].loc[4].to_dict() == {"generation": 6.0, "update": 20.0, "weight transfer": 0.5, "other": 1.5}
    assert len(plt.get_fignums()) == 2


def test_it_reads_what_earlier_sessions_logged_and_passes_over_half_a_line(project: Runs) -> None:
    text = project.lines([project.training_line(3), {"step": 3, "data": {"critic/score/mean": 0.9}}])
    folder = project.make(metrics=text + '{"step": 4, "da')
    (folder / "metrics.001.jsonl").write_text(project.lines([project.training_line(1), project.training_line(3)]))
    (folder / "metrics.002.jsonl").write_text(project.lines([project.training_line(2)]))
    training = read()["training"]
    assert training["critic/score/mean"].to_dict() == {1: 0.31, 2: 0.32, 3: 0.9}
    assert training["timing_s/gen"].to_dict() == {1: 6.0, 2: 6.0, 3: 6.0}


def test_it_reads_a_run_that_has_only_begun(project: Runs) -> None:
    project.make(facts={"name": "begun"}, metrics=None)
    names = read()
    assert names["training"].empty
    assert names["wrong"].empty


def test_answers_that_were_not_judged_are_neither_right_nor_wrong(project: Runs) -> None:
    rows = [project.row("a", True), project.row("b", None), project.row("c", ...), project.row("d", False)]
    project.make(validation={4: rows})
    names = read()
    assert names["by_step"]["passed"].to_dict() == {4: 0.5}
    assert list(names["wrong"]["input"]) == ["d"]


def test_one_cell_alone_chooses_the_run() -> None:
    assert ["RUN =" in "".join(cell["source"]) for cell in cells("code")].count(True) == 1


def test_no_output_is_stored() -> None:
    assert not [cell["id"] for cell in cells("code") if cell["outputs"] or cell["execution_count"] is not None]


@pytest.mark.parametrize(
    "file", ["run.json", "metrics.jsonl", "metrics.001.jsonl", "validation/<step>.jsonl", "config.yaml"]
)
def test_it_says_what_each_file_holds(file: str) -> None:
    assert f"| `{file}`" in "".join(cells("markdown")[0]["source"])
