"""A whole run of the mode ``pangu_ssp`` on eight paced replicas: real verl, Ray, TransferQueue, agent loops, scheduler."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_runs import SUPPORT, Finished, finish
from pangu_verl_paced import journal, pacing
from pangu_verl_paced.journal import TrainedBatch
from pangu_verl_paced.prompts import write_prompts

from pangu_verl.quickstart.tiny import make_tiny_model

pytestmark = pytest.mark.slow

REPLICAS, SLOTS, GROUPS, TRAJECTORIES, STEPS, BOUND_VERSIONS = 8, 4, 8, 4, 6, 2
PACED = {
    "cluster": {
        "devices": 12,
        "slots_per_device": SLOTS,
        "decode_tokens_per_s": [[1, 60], [4, 50]],
        "train_tokens_per_s": 400,
        "publication_s": 0.2,
    },
    "lengths": {"trace": "mid", "mean_tokens": 64},
    "trainer_devices": 4,
    "time_scale": 2,
    "rates_from": "made up for the tests",
}
OVERRIDES = {
    "data.train_batch_size": GROUPS,
    "data.shuffle": "false",
    "data.max_prompt_length": 64,
    "data.max_response_length": 512,
    "actor_rollout_ref.actor.ppo_mini_batch_size": GROUPS,
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": GROUPS * TRAJECTORIES,
    "actor_rollout_ref.actor.strategy": "pangu_paced",
    "actor_rollout_ref.model.external_lib": "pangu_verl_paced.registrations",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": GROUPS * TRAJECTORIES,
    "actor_rollout_ref.rollout.n": TRAJECTORIES,
    "actor_rollout_ref.rollout.name": "pangu_paced",
    "actor_rollout_ref.rollout.max_num_seqs": SLOTS,
    "actor_rollout_ref.rollout.nnodes": 1,
    "actor_rollout_ref.rollout.n_gpus_per_node": REPLICAS,
    "actor_rollout_ref.rollout.checkpoint_engine.backend": "pangu_paced",
    "actor_rollout_ref.rollout.checkpoint_engine.custom_backend_module": "pangu_verl_paced.transport",
    "reward.custom_reward_function.path": "pkg://pangu_verl_paced.prompts",
    "reward.custom_reward_function.name": "no_reward",
    "ray_kwargs.ray_init.num_gpus": REPLICAS + 2,
    "ray_kwargs.ray_init.num_cpus": 2 * REPLICAS + 16,
    "trainer.v1.trainer_mode": "pangu_ssp",
    "trainer.v1.separate_async.parameter_sync_step": 1,
    "pangu.scheduler.policy": "mask",
    "pangu.scheduler.bound_versions": BOUND_VERSIONS,
    "trainer.total_training_steps": STEPS,
    "trainer.val_before_train": "false",
    "trainer.test_freq": -1,
    "trainer.save_freq": -1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paced")


@pytest.fixture(scope="module")
def run(folder: Path) -> Finished:
    make_tiny_model(folder / "model", lessons=0)
    rows = write_prompts(folder / "rows.parquet", 200)
    described = folder / "paced.yaml"
    described.write_text(yaml.safe_dump(PACED | {"journal": str(folder / "journal.jsonl")}))
    inputs = {
        "data.train_files": rows,
        "data.val_files": rows,
        "actor_rollout_ref.model.path": folder / "model",
    }
    overrides = [f"{key}={value}" for key, value in (inputs | OVERRIDES).items()]
    plugin = Path(pacing.__file__).parents[1]
    extra = {pacing.VARIABLE: str(described), "PYTHONPATH": os.pathsep.join([str(SUPPORT), str(plugin)])}
    return finish(["train", "--run-dir", str(folder / "run"), *overrides], folder / "run", **extra)


@pytest.fixture(scope="module")
def batches(run: Finished, folder: Path) -> list[TrainedBatch]:
    assert run.code == 0, run.errors[-2_000:]
    return journal.read(folder / "journal.jsonl")


def test_every_step_trains_on_a_whole_batch(batches: list[TrainedBatch]) -> None:
    assert [batch.trajectories for batch in batches] == [GROUPS * TRAJECTORIES] * STEPS


def test_no_trained_token_is_over_the_bound_by_what_the_servers_stamped(batches: list[TrainedBatch]) -> None:
    lags = [step - version for step, batch in enumerate(batches) for version in batch.trained_tokens_by_version]
    assert 1 <= max(lags) <= BOUND_VERSIONS
    assert min(lags) >= 0


def test_the_run_says_that_compute_is_paced(run: Finished, batches: list[TrainedBatch]) -> None:
    assert pacing.NOTICE in run.output + run.errors
    assert set(run.metrics("actor/paced/compute/max").values()) == {1.0}


def test_the_run_says_what_it_takes_of_the_machine(run: Finished, batches: list[TrainedBatch]) -> None:
    shares: dict[int, float] = run.metrics("actor/paced/processor_share/max")
    assert sorted(shares) == list(range(2, STEPS + 1))
    assert all(0 < share <= 1 for share in shares.values())


def test_a_run_that_is_to_save_checkpoints_is_refused_by_key(
    folder: Path, run: Finished, describe: Callable[..., Path]
) -> None:
    rows = folder / "rows.parquet"
    inputs = {"data.train_files": rows, "data.val_files": rows, "actor_rollout_ref.model.path": folder / "model"}
    overrides = [f"{key}={value}" for key, value in (inputs | OVERRIDES | {"trainer.save_freq": 2}).items()]
    plugin = Path(pacing.__file__).parents[1]
    extra = {pacing.VARIABLE: str(folder / "paced.yaml"), "PYTHONPATH": str(plugin)}
    refused = finish(["train", "--run-dir", str(folder / "refused"), *overrides], folder / "refused", **extra)
    assert refused.code == 2
    assert "a paced run needs trainer.save_freq=-1, got 2" in refused.errors
