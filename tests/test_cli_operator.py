"""What an operator asks the command line: which plugins, which configuration, what would run, what is in the way."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from made_plugins import MakePlugin, make_plugin
from preflight_checks import rows
from typer.testing import CliRunner

from pangu_verl import cli
from pangu_verl.doctor import Finding

__all__ = ["make_plugin"]


def call(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments))


# --- plugins -----------------------------------------------------------------------------------------------------------


def test_plugins_are_listed_with_origin_and_hooks() -> None:
    answer = call("plugins")
    assert answer.exit_code == 0
    assert {
        "mars: ready (pangu-verl 0.1.0) register_auxiliary_terms, register_reward_sources",
        "scheduler: ready (pangu-verl 0.1.0) register_bound_controllers, register_priority_terms, "
        "register_staleness_policies",
    } <= set(answer.stdout.splitlines())


def test_a_plugin_that_failed_is_listed_with_the_reason_and_leaves_with_one(make_plugin: MakePlugin) -> None:
    make_plugin("made", "import no_such_module")
    answer = call("plugins")
    assert answer.exit_code == 1
    assert "made: failed (dist-made 1.0)\n    cannot be imported from made_dist_made_made: " in answer.stdout


def test_plugins_as_json_hold_name_and_status(make_plugin: MakePlugin) -> None:
    make_plugin("made", "")
    answer = call("plugins", "--json")
    listed = json.loads(answer.stdout.splitlines()[-1])
    assert {"mars": "ready", "made": "failed"}.items() <= {each["name"]: each["status"] for each in listed}.items()


# --- configuration -----------------------------------------------------------------------------------------------------


def test_configurations_and_backends_are_listed_with_their_meaning() -> None:
    answer = call("train", "--list-configs")
    assert answer.exit_code == 0
    names = [line.split()[0] for line in answer.stdout.splitlines()]
    assert {"ppo", "quickstart", "quickstart_tiny"} <= set(names)
    assert any("npu_megatron" in name for name in names)
    assert all(re.match(r"\S+ {2,}\S", line) for line in answer.stdout.splitlines())


def test_a_key_is_explained() -> None:
    answer = call("train", "--explain", "pangu.rewards.sources")
    assert answer.exit_code == 0
    assert "reward sources" in answer.stdout


def test_an_unknown_key_is_answered_with_the_near_ones() -> None:
    answer = call("train", "--explain", "data.train_batch_sise")
    assert answer.exit_code == 2
    assert "data.train_batch_size" in answer.stderr


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that name a model and rows."""
    from pangu_verl.quickstart.tiny import make_tiny_model

    folder = tmp_path_factory.mktemp("inputs")
    model = make_tiny_model(folder / "model", lessons=0)
    rows().to_parquet(folder / "rows.parquet")
    files = [f"data.{key}={folder / 'rows.parquet'}" for key in ("train_files", "val_files")]
    return [*files, f"actor_rollout_ref.model.path={model}"]


def test_a_dry_run_prints_the_configuration_and_the_plan(inputs: list[str], tmp_path: Path) -> None:
    answer = call("train", "--config", "quickstart_tiny", "--dry-run", "--run-dir", str(tmp_path / "run"), *inputs)
    assert answer.exit_code == 0, answer.stderr
    assert "  train_batch_size: 8\n" in answer.stdout
    assert "8 prompts x 8 responses = 64" in answer.stdout
    assert not (tmp_path / "run").exists()


def test_a_dry_run_as_json_holds_plan_and_configuration(inputs: list[str]) -> None:
    answer = call("train", "--config", "quickstart_tiny", "--dry-run", "--json", *inputs)
    found = json.loads(answer.stdout.splitlines()[-1])
    assert found["plan"]["devices"] == 1
    assert found["config"]["data"]["train_batch_size"] == 8


def test_a_dry_run_of_what_cannot_work_leaves_with_two_and_the_arithmetic(inputs: list[str]) -> None:
    answer = call(
        "train", "--config", "quickstart_tiny", "--dry-run", "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=7",
        *inputs,
    )  # fmt: skip
    assert answer.exit_code == 2
    assert answer.stderr.startswith("pangu-verl: actor.ppo_micro_batch_size_per_gpu=7 does not divide")
    assert answer.stdout == ""


# --- doctor ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warning", 0), ("unknown", 0), ("problem", 1)])
def test_the_doctor_leaves_with_one_if_there_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, status: Any, code: int
) -> None:
    advice = "" if status == "ok" else "do this"
    finding = Finding(name="memory", status=status, found="3 GiB", advice=advice, source=None)
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr("pangu_verl.doctor.examine", lambda *arguments: asked.append(arguments) or [finding])
    answer = call("doctor", "--target", "npu", "data.seed=1")
    assert answer.exit_code == code
    assert asked == [("npu", ["data.seed=1"])]
    assert "memory" in answer.stdout and advice in answer.stdout
    listed = json.loads(call("doctor", "--json").stdout.splitlines()[-1])
    assert (listed[0]["name"], listed[0]["status"]) == ("memory", status)


# --- report ------------------------------------------------------------------------------------------------------------


def test_several_runs_are_set_side_by_side(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        (folder / "run.json").write_text("{}")
    page = tmp_path / "both.html"
    answer = call("report", *map(str, folders), "--output", str(page))
    assert (answer.exit_code, answer.stdout) == (0, f"report: {page}\n")
    assert page.is_file()


def test_several_runs_as_json_come_in_the_order_asked(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("b", "a")]
    for folder in folders:
        folder.mkdir()
        (folder / "run.json").write_text("{}")
    answer = call("report", *map(str, folders), "--output", str(tmp_path / "page.html"), "--json")
    found = json.loads(answer.stdout.splitlines()[-1])
    assert [Path(run["run_dir"]).name for run in found["runs"]] == ["b", "a"]
