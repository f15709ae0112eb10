"""Where a run writes, and how it is said what ended it. No run is started here."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from omegaconf import DictConfig, OmegaConf
from ray.exceptions import ActorDiedError, RaySystemError, RayTaskError

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.integrations.verl import failures, launch, preflight
from pangu_verl.runs import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", name="test", resume=False)


@pytest.fixture
def config(tmp_path: Path) -> DictConfig:
    trainer = {"default_local_dir": str(tmp_path), "note": "é"}
    pangu = {"rewards": {"trail_dir": None}, "scheduler": {"ledger": None}}
    return OmegaConf.create({"trainer": trainer, "data": {}, "pangu": pangu})


def crossing_processes(error: Exception, times: int = 1) -> Exception:
    """An error as it comes out of as many of Ray's processes."""
    for _ in range(times):
        error = RayTaskError("run", "Traceback ...\n  File ...\n", error).as_instanceof_cause()
    return error


# --- the run folder --------------------------------------------------------------------------------------------------


def test_everything_a_run_writes_goes_into_its_folder(config: DictConfig, run: Run) -> None:
    launch.place_in_run_folder(config, run)
    assert config.trainer.default_local_dir == str(run.folder / "checkpoints")
    assert config.trainer.validation_data_dir == str(run.folder / "validation")
    assert config.pangu.rewards.trail_dir == str(run.folder / "rewards")
    assert config.pangu.scheduler.ledger == str(run.folder / "ledger.sqlite")
    assert os.environ["VERL_FILE_LOGGER_PATH"] == str(run.folder / "metrics.jsonl")
    assert OmegaConf.load(run.folder / "config.yaml") == config


def test_a_record_of_rewards_may_go_elsewhere(config: DictConfig, run: Run) -> None:
    config.pangu.rewards.trail_dir = "/elsewhere"
    launch.place_in_run_folder(config, run)
    assert config.pangu.rewards.trail_dir == "/elsewhere"


def test_the_users_folder_for_tensorboard_stays(config: DictConfig, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORBOARD_DIR", "/elsewhere")
    launch.place_in_run_folder(config, run)
    assert os.environ["TENSORBOARD_DIR"] == "/elsewhere"


def test_a_fresh_run_resumes_nothing(config: DictConfig, run: Run) -> None:
    launch.place_in_run_folder(config, run)
    assert config.trainer.resume_mode == "disable"


def metrics_of(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("metrics*"))}


def test_resuming_keeps_what_every_earlier_session_logged(config: DictConfig, run: Run) -> None:
    for session in ("first", "second", "third"):
        again = Run(run.folder, name="test", resume=True)
        launch.place_in_run_folder(config, again)
        (run.folder / "metrics.jsonl").write_text(session)
    assert config.trainer.resume_mode == "auto"
    assert metrics_of(run.folder) == {
        "metrics.001.jsonl": "first",
        "metrics.002.jsonl": "second",
        "metrics.jsonl": "third",
    }


def test_a_session_that_logged_nothing_leaves_no_file(config: DictConfig, run: Run) -> None:
    launch.place_in_run_folder(config, Run(run.folder, name="test", resume=True))
    assert metrics_of(run.folder) == {}


def test_no_earlier_file_is_overwritten_where_one_of_them_is_gone(config: DictConfig, run: Run) -> None:
    for name in ("metrics.001.jsonl", "metrics.003.jsonl", "metrics.old.jsonl", "metrics.jsonl"):
        (run.folder / name).write_text(name)
    launch.place_in_run_folder(config, Run(run.folder, name="test", resume=True))
    assert metrics_of(run.folder) == {
        "metrics.001.jsonl": "metrics.001.jsonl",
        "metrics.003.jsonl": "metrics.003.jsonl",
        "metrics.004.jsonl": "metrics.jsonl",
        "metrics.old.jsonl": "metrics.old.jsonl",
    }


# --- what is said ----------------------------------------------------------------------------------------------------


def explained(error: Exception, config: DictConfig, run: Run, failure: str | None = None) -> str:
    text = failures.explain(error, failure, config, run)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("times", [0, 1, 3])
def test_the_cause_is_named_through_every_process(config: DictConfig, run: Run, times: int) -> None:
    error = crossing_processes(ValueError("no such thing\nand a tail"), times)
    assert explained(error, config, run) == f"ValueError: no such thing (logs in {run.folder / 'logs'})"


def test_the_cause_is_named_behind_an_error_that_only_passes_it_on(config: DictConfig, run: Run) -> None:
    outer = RuntimeError("the trainer failed")
    outer.__cause__ = crossing_processes(KeyError("prompt"))
    assert explained(crossing_processes(outer), config, run).startswith("KeyError: 'prompt' (logs in ")


def test_what_the_watch_saw_comes_before_what_the_driver_got(config: DictConfig, run: Run) -> None:
    text = explained(ActorDiedError(), config, run, failure="pangu_cpu_server_0 died: killed")
    assert text == f"pangu_cpu_server_0 died: killed (logs in {run.folder / 'logs'})"


def test_what_ray_only_quotes_is_taken_out_of_the_traceback(config: DictConfig, run: Run) -> None:
    quote = RaySystemError(
        "The worker failed:\n  File ...\nKeyError: 'a'\n\nThe above ...\nValueError: no such platform\n"
    )
    assert explained(quote, config, run).startswith("ValueError: no such platform (logs in ")


def test_a_worker_that_died_for_lack_of_a_plugin_is_explained_by_it(
    config: DictConfig, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> NoReturn:
        raise RunFailed("plugin 'x' did not load in process 'Ray worker'")

    monkeypatch.setattr(failures, "require_boot_in_new_worker", refuse)
    text = explained(ActorDiedError(), config, run)
    assert text.startswith("plugin 'x' did not load in process 'Ray worker' (logs in ")


def test_an_error_without_words_is_named_by_its_class(config: DictConfig, run: Run) -> None:
    assert explained(AssertionError(), config, run).startswith("AssertionError: AssertionError (logs")


@pytest.mark.parametrize("times", [0, 1, 2])
def test_our_own_error_is_said_as_it_is(config: DictConfig, run: Run, times: int) -> None:
    own = RunFailed("plugin 'x' did not load")
    own.__cause__ = ImportError("the reason of the reason")
    assert explained(crossing_processes(own, times), config, run).startswith("plugin 'x' did not load (logs in ")


@pytest.mark.parametrize("times", [0, 2])
def test_a_full_disk_is_said_with_the_way_on(config: DictConfig, run: Run, times: int) -> None:
    error = crossing_processes(OSError(errno.ENOSPC, "No space left on device"), times)
    assert explained(error, config, run) == (
        f"no space left for a checkpoint in {config.trainer.default_local_dir}; "
        "free some and go on with --resume (earlier checkpoints are whole)"
    )


@pytest.mark.parametrize(
    "complaint",
    [
        "[enforce fail at inline_container.cc:626] . unexpected pos 64 vs 0: file write failed",
        "[enforce fail at inline_container.cc:672] . unexpected pos 447424 vs 447312",
        "Error while serializing: I/O error: No space left on device (os error 28)",
    ],
)
@pytest.mark.parametrize(("free_bytes", "is_full"), [(1 << 20, True), (1 << 40, False)])
def test_an_error_of_writing_is_a_full_disk_where_the_disk_is_full(
    config: DictConfig, run: Run, monkeypatch: pytest.MonkeyPatch, free_bytes: int, is_full: bool, complaint: str
) -> None:
    config.trainer.default_local_dir = str(run.folder / "not" / "made" / "yet")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free_bytes))
    assert explained(RuntimeError(complaint), config, run).startswith("no space left") == is_full


def test_another_error_of_the_system_is_no_full_disk(config: DictConfig, run: Run) -> None:
    assert explained(PermissionError(errno.EACCES, "denied"), config, run).startswith("PermissionError: ")


def test_errors_that_cause_each_other_are_no_endless_search(config: DictConfig, run: Run) -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert explained(first, config, run).startswith("ValueError: second")


# --- the whole of it, with verl's run replaced ----------------------------------------------------------------------


@pytest.fixture
def train(config: DictConfig, run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """``launch.train`` on a sound configuration, where verl's ``run_ppo`` is what a test says."""

    def start(run_ppo: Callable[..., None], *, quiet: bool = True) -> dict[str, Any]:
        monkeypatch.setattr("pangu_verl.integrations.verl.plan.plan_of", lambda _: None)
        monkeypatch.setattr("verl.trainer.main_ppo.run_ppo", run_ppo)
        return launch.train(config, run, quiet=quiet)

    return start


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def run_ppo(*_: Any, **__: Any) -> NoReturn:
        raise error

    return run_ppo


@pytest.mark.parametrize("own", [RunFailed("plugin 'x' did not load"), WrongUse("verl lacks it")])
def test_our_own_error_out_of_a_worker_is_one_line(train: Callable[..., Any], own: Exception) -> None:
    with pytest.raises(RunFailed) as caught:
        train(raising(crossing_processes(own, 2)))
    assert type(caught.value) is RunFailed
    assert str(caught.value).startswith(f"{own} (logs in ")
    assert "\n" not in str(caught.value)


def test_any_other_error_out_of_a_worker_is_one_line(train: Callable[..., Any]) -> None:
    with pytest.raises(RunFailed, match=r"^ZeroDivisionError: division by zero \(logs in .*\)$"):
        train(raising(crossing_processes(ZeroDivisionError("division by zero"))))


def test_an_interruption_passes_through(train: Callable[..., Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(raising(KeyboardInterrupt()))


def test_a_run_that_ends_well_delivers_its_facts(train: Callable[..., Any]) -> None:
    def run_ppo(_: DictConfig, task_runner_class: Any) -> None:
        task_runner_class.facts = {"servers": [1]}

    assert train(run_ppo) == {"servers": [1]}


def test_a_failure_that_the_watch_saw_is_one_though_verl_ended_well(train: Callable[..., Any]) -> None:
    def run_ppo(_: DictConfig, task_runner_class: Any) -> None:
        task_runner_class.failure = "pangu_cpu_server_0 died: killed"

    with pytest.raises(RunFailed, match=r"^pangu_cpu_server_0 died: killed \(logs in .*\)$"):
        train(run_ppo)


def test_a_quiet_run_keeps_its_output_in_the_log(
    train: Callable[..., Any], run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    def run_ppo(*_: Any, **__: Any) -> None:
        os.write(1, b"from below\n")
        os.write(2, b"complaint\n")

    train(run_ppo)
    os.write(1, b"afterwards\n")
    assert capfd.readouterr() == ("afterwards\n", "")
    assert {"from below", "complaint"} <= set((run.folder / "logs" / "driver.log").read_text().splitlines())


def test_a_run_that_is_not_quiet_prints(train: Callable[..., Any], run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    train(lambda *_, **__: os.write(1, b"from below\n"), quiet=False)
    assert "from below" in capfd.readouterr().out
    assert not (run.folder / "logs").exists()


def test_a_plugin_that_did_not_load_stops_the_run_before_it_starts(
    train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pangu_verl.integrations.verl.boot.outcome", "too old")
    with pytest.raises(RunFailed, match="plugin 'pangu_verl' did not load in process 'driver': too old"):
        train(raising(AssertionError("started")))


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("actor_rollout_ref.actor.ppo_micro_batch_size=4", "You have set both 'actor.ppo_micro_batch_size'"),
        ("actor_rollout_ref.actor.loss_agg_mode=median", "Invalid loss_agg_mode: median"),
        ("data.train_batch_size=4", "train_batch_size (4) must be >= actor.ppo_mini_batch_size (8)"),
        ("+actor_rollout_ref.actor.nonsense=1", "unexpected keyword argument 'nonsense'"),
    ],
)
def test_what_verl_refuses_is_said_in_its_words_in_one_line(override: str, complaint: str) -> None:
    from pangu_verl.integrations.verl.configuration import compose

    with pytest.raises(WrongUse) as caught:
        preflight._check_by_verl(compose("quickstart", [override]))
    assert str(caught.value).startswith("verl refuses the configuration: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_logs_of_workers_are_not_kept_without_a_cluster(tmp_path: Path) -> None:
    launch._keep_worker_logs(tmp_path / "logs")
    assert not list(tmp_path.glob("logs/*"))
