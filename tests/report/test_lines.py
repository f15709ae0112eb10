"""Figures with one line a run."""

from __future__ import annotations

import re
from typing import Any

import matplotlib

from pangu_verl.report.columns import read_columns
from pangu_verl.report.line_figures import ComparedFigure, swatch
from pangu_verl.report.lines import compared_figures

EVERY_TITLE = ["Training reward", "Validation accuracy", "Response length", "Entropy", "Step time"]


def figures(*folders: Any) -> dict[str, ComparedFigure]:
    return {found.figure.title: found for found in compared_figures(read_columns(folders))}


def test_every_figure_has_a_line_and_a_name_for_each_run(runs: Any) -> None:
    found = figures(*[runs.make_whole(name=name) for name in ("one", "two")])
    assert list(found) == EVERY_TITLE
    for compared in found.values():
        assert [entry.label for entry in compared.legend] == ["one", "two"]
        assert "var(--series-1)" in compared.figure.svg
        assert "var(--series-2)" in compared.figure.svg
    assert found["Training reward"].legend[0].ends == "0.31 → 0.34"
    assert found["Step time"].legend[0].ends == "28.0 s → 28.0 s"


def test_a_drawing_is_described_to_those_who_cannot_see_it(runs: Any) -> None:
    compared = figures(runs.make_whole(name="one"))["Validation accuracy"]
    assert re.search(r'role="img" aria-label="Validation accuracy\. [^"]*one: 0\.30 → 0\.65\."', compared.figure.svg)


def test_a_run_without_data_is_named_and_keeps_its_look_elsewhere(runs: Any) -> None:
    silent = runs.make(name="silent", metrics=[])
    compared = figures(silent, runs.make(name="other"))["Training reward"]
    assert compared.figure.caption.endswith("No data from: silent.")
    assert [entry.position for entry in compared.legend] == [1]
    assert "var(--series-1)" not in compared.figure.svg
    assert "var(--series-2)" in compared.figure.svg


def test_without_any_data_there_is_no_figure(runs: Any) -> None:
    assert figures(runs.make(facts={}, metrics=None)) == {}


def test_eight_runs_and_more_all_look_different() -> None:
    looks = {re.sub(r'(id|xlink:href)="[^"]*"', "", swatch(position, "salt")) for position in range(24)}
    assert len(looks) == 24


def test_elements_of_a_page_share_no_names(runs: Any) -> None:
    found = figures(*[runs.make_whole(name=name) for name in ("one", "two")])
    drawings = [compared.figure.svg for compared in found.values()]
    drawings += [swatch(position, title) for title in found for position in range(2)]
    names = [name for drawing in drawings for name in set(re.findall(r' id="([^"]*)"', drawing))]
    assert len(names) == len(set(names))


def test_long_runs_are_averaged_over_the_same_number_of_steps(runs: Any) -> None:
    noise = [{"step": step, "data": {"critic/score/mean": step * 7919 % 100 / 100}} for step in range(1, 1201)]
    compared = figures(runs.make(name="long", metrics=noise), runs.make(name="short"))["Training reward"]
    assert "A point is the mean of up to 10 steps." in compared.figure.caption
    assert compared.legend[0].ends == "0.19 → 0.00"
    longest = max(re.findall(r' d="([^"]*)"', compared.figure.svg), key=len)
    assert 100 < len(re.findall("[ML]", longest)) <= 121


def test_a_single_step_is_a_point(runs: Any) -> None:
    compared = figures(runs.make(metrics=[runs.training_line(1)]))["Response length"]
    assert compared.legend[0].ends == "29"


def test_entropy_is_found_under_either_name(runs: Any) -> None:
    older = runs.make(name="older", metrics=[{"step": 1, "data": {"actor/entropy_loss": 0.5}}])
    compared = figures(older, runs.make(name="newer"))["Entropy"]
    assert [entry.ends for entry in compared.legend] == ["0.50", "0.99 → 0.96"]


def test_values_of_zero_alone_are_drawn(runs: Any) -> None:
    zero = {"critic/score/mean": 0.0, "response_length/mean": 0.0, "timing_s/step": 0.0}
    assert len(figures(runs.make(metrics=[{"step": 0, "data": zero}]))) == 3


def test_the_users_matplotlib_is_left_alone(runs: Any) -> None:
    before = dict(matplotlib.rcParams)
    figures(runs.make_whole())
    assert dict(matplotlib.rcParams) == before
