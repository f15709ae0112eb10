"""The quickstart put together, with training itself replaced: what it composes, records, refuses and resumes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cached_composition import composed
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import DictConfig
from rich.console import Console

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.integrations.verl import configuration, launch
from pangu_verl.progress import RunProgress
from pangu_verl.quickstart import job
from pangu_verl.quickstart.job import Job


class Training:
    """Stands for ``launch.train``: keeps what it was given, then returns or raises what a test says."""

    def __init__(self) -> None:
        self.configs: list[DictConfig] = []
        self.result: dict[str, Any] | BaseException = {"servers": [{"busy_s": 1.0}]}

    def __call__(self, config: DictConfig, _: Any, *, quiet: bool) -> dict[str, Any]:
        assert quiet
        self.configs.append(config)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    training = Training()
    monkeypatch.setattr(launch, "train", training)
    monkeypatch.setattr(configuration, "_composed", composed)
    monkeypatch.setattr(RunProgress, "train_seconds", 12.5)
    monkeypatch.setattr(job, "_prepare_model", lambda order, _: f"models/{order.model}")
    return training


@pytest.fixture
def start(tmp_path: Path, training: Training) -> Callable[..., dict[str, Any]]:
    def run(
        *overrides: str, folder: str = "run", model: str = "tiny", seed: int = 0, resume: bool = False
    ) -> dict[str, Any]:
        order = Job(folder=tmp_path / folder, model=model, seed=seed, resume=resume, overrides=overrides)
        return job.run(order, Console(file=io.StringIO()))

    return run


def leave(folder: Path, **facts: Any) -> None:
    """What an earlier session left of a run."""
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"name": "quickstart", "model": "tiny", "seed": 0, **facts}))


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def test_a_run_that_ends_well_is_recorded_and_reported(tmp_path: Path, start: Callable[..., dict[str, Any]]) -> None:
    result = start()
    assert result["run_dir"] == str(tmp_path / "run")
    assert (tmp_path / "run" / "report.html").is_file()
    found = record(tmp_path / "run")
    assert (found["status"], found["model"], found["seed"]) == ("finished", "tiny", 0)
    assert (found["train_seconds"], found["engine"]) == (12.5, {"busy_s": 1.0})


def test_the_command_decides_model_data_and_seed(
    tmp_path: Path, start: Callable[..., dict[str, Any]], training: Training
) -> None:
    start(seed=7)
    (config,) = training.configs
    assert config.actor_rollout_ref.model.path == "models/tiny"
    assert config.data.train_files == str(tmp_path / "run" / "data" / "train.parquet")
    assert (config.data.seed, config.actor_rollout_ref.rollout.seed) == (7, 7)
    assert config.trainer.experiment_name == "quickstart_tiny"


def test_an_override_wins_over_the_command(start: Callable[..., dict[str, Any]], training: Training) -> None:
    start("data.seed=9", "trainer.total_training_steps=3")
    assert (training.configs[0].data.seed, training.configs[0].trainer.total_training_steps) == (9, 3)


def test_folder_and_model_may_have_any_name(
    tmp_path: Path, start: Callable[..., dict[str, Any]], training: Training
) -> None:
    start(folder="it's, {here}", model="it's [mine]")
    (config,) = training.configs
    assert config.data.train_files == str(tmp_path / "it's, {here}" / "data" / "train.parquet")
    assert config.actor_rollout_ref.model.path == "models/it's [mine]"


@given(text=st.text())
@example(text="tail\\")
@example(text="\\'")
@example(text="a,b=[c]{d}")
def test_hydra_takes_any_text_literally(text: str) -> None:
    override = OverridesParser.create().parse_override(job._override("key", text))
    assert (override.key_or_group, override.value()) == ("key", text)


@pytest.mark.parametrize("override", ["trainer.total_training_stepz=1", "trainer.logger=["])
def test_a_wrong_override_leaves_no_folder(tmp_path: Path, start: Callable[..., dict[str, Any]], override: str) -> None:
    with pytest.raises(WrongUse):
        start(override)
    assert list(tmp_path.iterdir()) == []


def test_a_number_of_steps_that_is_none_is_named(start: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(WrongUse, match=r"^trainer\.total_training_steps takes a whole number"):
        start("trainer.total_training_steps=null")


@pytest.mark.parametrize(
    ("error", "status", "failure"),
    [
        (KeyboardInterrupt(), "interrupted", None),
        (RunFailed("the server died"), "failed", "the server died"),
        (ZeroDivisionError("division by zero"), "failed", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_run_that_does_not_end_well_says_how_and_keeps_its_time(
    tmp_path: Path,
    start: Callable[..., dict[str, Any]],
    training: Training,
    error: BaseException,
    status: str,
    failure: str | None,
) -> None:
    training.result = error
    with pytest.raises(type(error)):
        start()
    found = record(tmp_path / "run")
    assert (found["status"], found["failure"], found["train_seconds"]) == (status, failure, 12.5)


def test_a_resumed_run_adds_to_the_time_of_the_earlier_session(
    tmp_path: Path, start: Callable[..., dict[str, Any]], training: Training
) -> None:
    leave(tmp_path / "run", status="failed", failure="no disk", train_seconds=10.0, peak_pss_gib=1000.0)
    start(resume=True)
    found = record(tmp_path / "run")
    assert (found["status"], found["failure"]) == ("finished", None)
    assert (found["train_seconds"], found["peak_pss_gib"]) == (22.5, 1000.0)
    assert training.configs[0].trainer.resume_mode == "auto"


@pytest.mark.parametrize(
    ("other", "complaint"),
    [({"model": "smollm2"}, "model 'tiny', not 'smollm2'"), ({"seed": 1}, "seed 0, not 1")],
)
def test_another_model_or_seed_is_not_resumed(
    tmp_path: Path, start: Callable[..., dict[str, Any]], other: dict[str, Any], complaint: str
) -> None:
    leave(tmp_path / "run")
    before = record(tmp_path / "run")
    with pytest.raises(WrongUse, match=complaint):
        start(resume=True, **other)
    assert record(tmp_path / "run") == before


def test_servers_without_statistics_leave_the_engine_unknown(
    tmp_path: Path, start: Callable[..., dict[str, Any]], training: Training
) -> None:
    training.result = {}
    start()
    assert record(tmp_path / "run")["engine"] is None


def test_models_are_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert job.cache_folder() == tmp_path / "pangu_verl"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert job.cache_folder() == tmp_path / "home" / ".cache" / "pangu_verl"


def test_the_tiny_model_is_made_once_in_the_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def make(folder: Path, *, seed: int) -> Path:
        made.append(folder)
        folder.mkdir()
        (folder / "model.safetensors").write_text("")
        return folder

    monkeypatch.setattr("pangu_verl.quickstart.tiny.make_tiny_model", make)
    order = Job(folder=tmp_path, model="tiny", seed=0, resume=False, overrides=())
    assert job._prepare_model(order, tmp_path) == job._prepare_model(order, tmp_path) == str(tmp_path / "model")
    assert made == [tmp_path / "model"]


def test_any_other_model_is_taken_by_its_name(tmp_path: Path) -> None:
    order = Job(folder=tmp_path, model="org/name", seed=0, resume=False, overrides=())
    assert job._prepare_model(order, tmp_path) == "org/name"
