"""The scheduler's benchmark: its limit, its marks, what it writes, and what it says of wrong use."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.queue.entries import Prompt
from pangu_verl.simulate.cluster import design_cluster
from pangu_verl.simulate.scenario import Scenario
from pangu_verl.simulate.traces import Responses, named_trace

FOLDER = Path(__file__).parents[2] / "benchmarks" / "systems"


def loaded(name: str, file: Path) -> ModuleType:
    """A module of the benchmarks' folder, which must not be on the path: it holds a module named queue."""
    locations = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=locations)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


loaded("scheduler_parts", FOLDER / "scheduler_parts" / "__init__.py")
limits, marks, spreads, writing = (
    importlib.import_module(f"scheduler_parts.{name}") for name in ("limits", "marks", "spreads", "writing")
)
loaded("verl_modes_parts", FOLDER / "verl_modes_parts" / "__init__.py")
readme = loaded("benchmarks_readme", FOLDER / "readme.py")


class LevelTrace:
    """Every response has 1,000 tokens."""

    name = "level"
    trajectories = 4
    mean_tokens = 1000.0

    def task_means(self) -> dict[str, float]:
        return {"any": 1000.0}

    def prompt(self, index: int) -> Prompt:
        return Prompt(key=f"p{index}", task="any", trajectories=4, row=index)

    def prompt_tokens(self, index: int) -> int:
        return 0

    def responses(self, index: int, attempt: int) -> Responses:
        return Responses([1000] * 4, [None] * 4)


def scenario_of(trace: Any) -> Scenario:
    return Scenario(trace=trace, cluster=design_cluster(0.5, slots=12), steps=10, batch_groups=3)


def point(name: str, side: str, fresh: float, length: float) -> dict[str, Any]:
    return {
        "point": name,
        "side": side,
        "fresh_token_share": [fresh, fresh, fresh],
        "trained_length_ratio": [length, length, length],
        "bound_share": [0.96, 0.96, 0.96],
    }


class AnyLimit:
    def __init__(self, share: float) -> None:
        self.share = share

    def most_fresh(self, least_length_ratio: float) -> float:
        return self.share


# The limit ------------------------------------------------------------------------------------------------------------


def test_limit_of_level_lengths_is_the_known_one() -> None:
    # Of 12 devices 8 roll out: a response takes 20 s, training 30 s on 4 devices of 100 tokens/s; W + T is 30 s.
    limit = limits.limit_of(scenario_of(LevelTrace()), bound_versions=0)
    assert limit.most_fresh(1.0) == pytest.approx(30 / (20 + 30))


def test_limit_never_exceeds_what_trainer_and_rollout_can_do() -> None:
    limit = limits.limit_of(scenario_of(LevelTrace()), bound_versions=50)
    assert limit.most_fresh(1.0) == pytest.approx(1.0)


@given(seed=st.integers(0, 50), bound=st.integers(0, 4), ratio=st.floats(0.1, 1.0), more=st.floats(0.0, 0.5))
def test_limit_falls_with_the_length_that_is_asked_and_grows_with_the_bound(
    seed: int, bound: int, ratio: float, more: float
) -> None:
    scenario = scenario_of(named_trace("heavy", seed=seed, num_prompts=30, trajectories=4))
    limit, looser = (limits.limit_of(scenario, versions) for versions in (bound, bound + 1))
    assert limit.most_fresh(ratio) >= limit.most_fresh(ratio + more) - 1e-9
    assert looser.most_fresh(ratio) >= limit.most_fresh(ratio) - 1e-9


# Marks ----------------------------------------------------------------------------------------------------------------


def test_mark_asks_8_percent_more_than_the_best_verl_mode_at_its_length() -> None:
    points = [
        point("verl_drop", "verl", 0.5, 0.7),
        point("verl_wait", "verl", 0.4, 1.0),
        point("mask", "ours", 0.55, 0.72),
        point("short", "ours", 0.9, 0.6),
        point("wait", "ours", 0.41, 1.0),
    ]
    mark = marks.marked(2, points, [AnyLimit(0.9)])
    assert (mark["best_verl"], mark["ours"], mark["is_reached"]) == ("verl_drop", "mask", True)
    assert mark["asked_fresh_token_share"] == pytest.approx(0.54)


@pytest.mark.parametrize(("bound_versions", "fresh"), [(1, 0.5), (2, 0.9)])
def test_no_mark_under_a_bound_of_one_or_near_the_ceiling(bound_versions: int, fresh: float) -> None:
    points = [point("verl_drop", "verl", fresh, 0.7), point("wait", "ours", fresh, 1.0)]
    mark = marks.marked(bound_versions, points, [AnyLimit(1.0)])
    assert mark["asked_fresh_token_share"] is None
    assert mark["is_reached"] is None


def test_target_beyond_the_limit_is_called_impossible() -> None:
    points = [point("verl_wait", "verl", 0.6, 1.0), point("wait", "ours", 0.62, 1.0)]
    cell = {"name": "a cell", "trace": "mid", "points": points, "mark": marks.marked(2, points, [AnyLimit(0.64)])}
    missed = marks.targets([cell])[0]
    assert (missed.met, missed.is_possible) == (False, False)


def test_verl_point_without_an_answer_is_named() -> None:
    points = [point("verl_drop", "verl", 0.6, 0.9), point("mask", "ours", 0.7, 0.8), point("wait", "ours", 0.5, 1.0)]
    assert marks.undominated([{"name": "a cell", "points": points}]) == [{"cell": "a cell", "point": "verl_drop"}]


def test_mark_says_whether_it_was_reached_in_waves_only() -> None:
    points = [
        point("verl_drop", "verl", 0.5, 0.7),
        point("mask", "ours", 0.52, 0.72),
        point("mask, in waves", "waves", 0.6, 0.7),
        point("verl_drop in waves, warm-up 1", "others", 0.58, 0.75),
        point("admission only", "others", 0.9, 1.0),
        point("wait", "ours", 0.41, 1.0),
    ]
    mark = marks.marked(2, points, [AnyLimit(0.53)])
    assert (mark["is_reached"], mark["is_reached_as_they_come"]) == (True, False)
    assert (mark["ours"], mark["ours_as_they_come"]) == ("mask, in waves", "mask")
    assert mark["verl_in_waves_fresh_token_share"] == 0.58


def test_verl_point_may_have_its_answer_in_waves() -> None:
    points = [point("verl_drop", "verl", 0.6, 0.9), point("mask, in waves", "waves", 0.7, 0.95)]
    assert marks.undominated([{"name": "a cell", "points": points}]) == []


def test_paired_difference_takes_out_what_seeds_have_in_common() -> None:
    mean, low, high = spreads.paired_difference([0.11, 0.52, 0.93], [0.10, 0.50, 0.90])
    assert mean == pytest.approx(0.02)
    assert -0.01 < low < mean < high < 0.05


# What is written ------------------------------------------------------------------------------------------------------


def test_record_is_json_with_a_figure_a_line(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "record.json"
    record = {"parts": {"cells": [{"name": "a", "share": [0.123456789, 1.0]}, {"name": "b", "share": []}]}}
    writing.write(record, path)
    assert json.loads(path.read_text())["parts"]["cells"][0] == {"name": "a", "share": [0.12346, 1.0]}
    assert '{"name": "a", "share": [0.12346, 1.0]}' in path.read_text()


def test_readme_exchanges_what_stands_between_its_comments() -> None:
    text = "before\n<!-- queue: begin (readme.py) -->\nold\n<!-- queue: end -->\nafter\n"
    assert readme.replaced(text, "queue", "new\n") == text.replace("old", "new")


def test_readme_without_a_place_for_a_benchmark_is_refused() -> None:
    with pytest.raises(SystemExit, match="0 places for 'queue'"):
        readme.replaced("nothing", "queue", "new\n")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "scheduler.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_command_writes_where_its_figures_come_from(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.json"
    ended = run("--quick", "--parts", "scale", "--processes", 1, "--output", path)
    assert ended.returncode == 0, ended.stderr
    record = json.loads(path.read_text())
    assert {"benchmark", "started_at", "commit", "has_local_changes", "seeds", "versions", "machine"} <= record.keys()
    assert {"cluster", "steps", "batch_groups", "bound_versions"} <= record["parts"]["scale"]["settings"].keys()
    assert [each["violations"] for each in record["parts"]["scale"]["runs"]] == [0, 0]


@pytest.mark.parametrize("arguments", [("--parts", "nothing"), ("--seeds", 1), ("--processes", 0)])
def test_wrong_use_is_refused(arguments: tuple[object, ...]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert str(arguments[0]) in ended.stderr
