"""One real run in verl's mode ``sync``, seen from all sides, and its resumption."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from command_runs import PARITY, Finished
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_the_run_ends_well_and_prints_its_summary(sync_run: Finished) -> None:
    assert sync_run.code == 0, sync_run.errors
    promised = {
        "run_dir",
        "accuracy_before",
        "accuracy_after",
        "interval",
        "train_seconds",
        "total_seconds",
        "peak_pss_gib",
    }
    assert promised <= sync_run.result.keys()


def test_rollout_and_trainer_agree_on_log_probs_after_every_update(sync_run: Finished) -> None:
    gaps = sync_run.metrics("training/rollout_log_probs_gap/max")
    assert sorted(gaps) == [1, 2, 3]
    assert max(gaps.values()) < 1e-4


def test_training_changes_the_weights(sync_run: Finished) -> None:
    norms = sync_run.metrics("actor/grad_norm")
    assert all(norm > 0 for norm in norms.values())


def test_the_folder_holds_report_metrics_config_and_checkpoints(sync_run: Finished) -> None:
    for name in ("report.html", "metrics.jsonl", "config.yaml", "validation/0.jsonl", "validation/3.jsonl"):
        assert (sync_run.folder / name).is_file(), name
    assert (sync_run.folder / "checkpoints" / "latest_checkpointed_iteration.txt").read_text() == "3"


def test_the_record_counts_busy_and_idle_time_of_the_server(sync_run: Finished) -> None:
    engine = sync_run.record["engine"]
    assert engine["busy_s"] > 0
    assert engine["idle_s"] > 0
    assert engine["generated_tokens"] > 0
    assert engine["version"] == 3


def test_verls_tensorboard_tracker_carries_the_metrics(sync_run: Finished) -> None:
    assert sync_run.code == 0, sync_run.errors
    events = EventAccumulator(str(sync_run.folder / "tensorboard")).Reload()
    for name in ("critic/score/mean", "training/rollout_log_probs_gap/max"):
        assert [event.step for event in events.Scalars(name)] == [1, 2, 3], name


def test_no_ray_process_outlives_the_run(sync_run: Finished) -> None:
    assert sync_run.leftovers == []


def test_nothing_but_progress_is_on_standard_error(sync_run: Finished) -> None:
    lines = [line for line in sync_run.errors.splitlines() if line.strip()]
    allowed = ("run folder", "preparing", "training", "step ")
    assert [line for line in lines if not line.startswith(allowed)] == []


@pytest.fixture(scope="module")
def resumed(sync_run: Finished, quickstart: Callable[..., Finished]) -> Finished:
    steps = ("trainer.total_training_steps=4", "trainer.test_freq=4", "trainer.save_freq=4")
    return quickstart(*PARITY, *steps, folder=sync_run.folder, resume=True)


def test_a_resumed_run_goes_on_from_the_last_checkpoint(resumed: Finished) -> None:
    assert resumed.code == 0, resumed.errors
    assert sorted(resumed.metrics("actor/grad_norm")) == [4]


def test_a_resumed_run_keeps_the_metrics_of_the_earlier_session(resumed: Finished) -> None:
    assert (resumed.folder / "metrics.001.jsonl").is_file()


def test_rollout_and_trainer_agree_after_resuming(resumed: Finished) -> None:
    assert max(resumed.metrics("training/rollout_log_probs_gap/max").values()) < 1e-4
