"""The trainers that leave unjudged rows out: which they derive from, what they report, where they go on from."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from made_batches import Row, fill, queue_in_memory, trainer
from made_queue import MadeQueue
from omegaconf import OmegaConf
from preflight_checks import Change
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.trainer.ppo.v1.trainer_base import PPOTrainer

from pangu_verl.integrations.verl import judged_training
from pangu_verl.integrations.verl.judged_training import judging_trainer


@pytest.fixture
def queue() -> Iterator[MadeQueue]:
    with queue_in_memory() as made:
        yield made


@pytest.mark.parametrize("mode", ["sync", "colocate_async", "separate_async"])
def test_the_trainer_of_each_mode_derives_from_verls(mode: str) -> None:
    assert issubclass(get_trainer_cls(judging_trainer(mode)), get_trainer_cls(mode))
    assert judging_trainer(mode) == f"pangu_{mode}"


@pytest.mark.parametrize("mode", ["sync", "colocate_async"])
def test_verl_reads_its_own_name_of_the_mode(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(PPOTrainer, "__init__", lambda self, config: setattr(self, "config", config))
    config = OmegaConf.create({"trainer": {"v1": {"trainer_mode": judging_trainer(mode)}}})
    get_trainer_cls(config.trainer.v1.trainer_mode)(config=config)
    assert config.trainer.v1.trainer_mode == mode


@pytest.mark.parametrize("mode", ["sync", "colocate_async", "separate_async"])
@pytest.mark.parametrize("filters", [False, True])
def test_verl_builds_the_trainer_from_the_shipped_configuration(change: Change, mode: str, filters: bool) -> None:
    values: dict[str, Any] = {}
    if mode == "separate_async":
        values = {"actor_rollout_ref__rollout__nnodes": 1, "trainer__v1__separate_async__parameter_sync_step": 1}
    if filters:
        values |= {"trainer__v1__sampler__custom_sampler__path": None, "data__gen_batch_size": 1}
        values |= {"algorithm__filter_groups__enable": True, "algorithm__filter_groups__metric": "score"}
    config = change(**values, trainer__v1__trainer_mode=judging_trainer(mode))
    made = get_trainer_cls(judging_trainer(mode))(config=config)
    assert made.trainer_mode == config.trainer.v1.trainer_mode == mode
    assert ("_dapo_filtered_keys" in vars(made.replay_buffer)) is filters


def test_verl_still_calls_what_is_overridden() -> None:
    overridden = {name for name in vars(judged_training._JudgedTraining) if callable(getattr(PPOTrainer, name, None))}
    expected = {"_build_replay_buffer", "_load_checkpoint", "_compute_advantage", "_compute_metrics"}
    assert {*expected, "_val_metrics_update"} <= overridden


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ValueError, match="Unknown trainer 'mine'"):
        judging_trainer("mine")


# --- what is reported ------------------------------------------------------------------------------------------------


def test_a_step_reports_its_rewards_and_the_counts_of_the_run(
    queue: MadeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PPOTrainer, "_compute_metrics", lambda self, batch, metrics, **_: metrics.update(verl=1.0))
    monkeypatch.setattr(judged_training, "state_metrics", lambda: {"mars/maths/math/judged": 7.0})
    fill(queue, [Row(0, 0, 1.0), Row(0, 1, 0.5, judged=False)])
    made = trainer()
    batch = made._compute_advantage(queue.batch(), {})
    metrics: dict[str, float] = {}
    made._compute_metrics(batch, metrics, timing_raw={}, global_steps=3, epoch=0)
    expected = {"verl": 1.0, "mars/maths/math/judged": 7.0, "rewards/groups_without_comparison": 1}
    assert expected.items() <= metrics.items()
    assert metrics["critic/score/mean"] == 1.0
    again: dict[str, float] = {}
    made._compute_metrics(batch, again, timing_raw={}, global_steps=4, epoch=0)
    assert again["rewards/unjudged_rows"] == 0


def test_validation_means_leave_placeholders_out() -> None:
    infos = {"reward": [1.0, 0.0, 0.0, 0.0], "judged": [True, False, True, False], "passed": [True, None, False, None]}
    found = trainer()._val_metrics_update(["sums"] * 4, ["a", "b", "c", "d"], infos, [1, 1, 1, 1])
    assert found["val-core/sums/reward/mean@1"] == 0.5
    assert found["val-aux/sums/passed/mean@1"] == 0.5
    assert found["val-aux/sums/judged_share"] == 0.5
    assert infos["reward"] == [1.0, 0.0, 0.0, 0.0]


def test_a_validation_in_which_nothing_was_judged_has_no_mean() -> None:
    infos = {"reward": [0.0], "judged": [False]}
    found = trainer()._val_metrics_update(["sums"], ["a"], infos, [1])
    assert not any("reward" in name for name in found)
    assert found["val-aux/sums/judged_share"] == 0.0


# --- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "step", "folder"),
    [
        ("auto", 20, "checkpoints/global_step_20"),
        ("resume_path", 10, "elsewhere/global_step_10"),
        ("auto", 0, None),
        ("disable", 0, None),
    ],
)
def test_the_counts_go_on_from_the_checkpoint_that_is_loaded(
    monkeypatch: pytest.MonkeyPatch, mode: str, step: int, folder: str | None
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(PPOTrainer, "_load_checkpoint", lambda self: setattr(self, "global_steps", step))
    monkeypatch.setattr(judged_training, "restore_state", lambda found: asked.append(str(found)))
    made = trainer()
    section = SimpleNamespace(
        resume_mode=mode, resume_from_path="elsewhere/global_step_10", default_local_dir="checkpoints"
    )
    made.config = SimpleNamespace(trainer=section)
    made._load_checkpoint()
    assert asked == ([] if folder is None else [folder])
