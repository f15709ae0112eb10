"""The engine that sleeps: how long, on what, and what it writes down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pangu_verl_paced import journal, processors, training
from pangu_verl_paced.journal import VERSION_UNIT, tokens_by_version
from pangu_verl_paced.pacing import VARIABLE
from pangu_verl_paced.refusals import refuse_configuration
from tensordict import TensorDict
from verl.workers.engine.base import EngineRegistry

from pangu_verl.errors import WrongUse


def nested(rows: list[list[float]]) -> torch.Tensor:
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


def batch(masks: list[list[int]], versions: list[list[int]]) -> TensorDict:
    """As verl's V1 trainer makes them: rows without padding."""
    return TensorDict(
        {
            "responses": nested([[7] * len(row) for row in masks]),
            "response_mask": nested(masks),
            "old_log_probs": nested([[-version * VERSION_UNIT for version in row] for row in versions]),
        },
        batch_size=len(masks),
    )


@pytest.fixture
def naps_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the engine would have slept."""
    naps: list[float] = []
    monkeypatch.setattr(training.time, "sleep", naps.append)
    return naps


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture
def engine(
    describe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, file: Path, naps_s: list[float]
) -> training.PacedEngine:
    """1,000 tokens/s in 100 played seconds a second of the wall."""
    monkeypatch.setenv(VARIABLE, str(describe(journal=str(file))))
    return training.PacedEngine(model_config=None, engine_config=None, optimizer_config=None, checkpoint_config=None)


def no_loss(*_: Any, **__: Any) -> None:
    raise AssertionError("nothing is to be computed")


def test_the_engine_is_known_to_verl_by_its_name() -> None:
    assert EngineRegistry._engines["language_model"]["pangu_paced"]["cpu"] is training.PacedEngine


def test_a_batch_takes_the_time_of_its_response_tokens_masked_ones_included(
    engine: training.PacedEngine, naps_s: list[float]
) -> None:
    masks = [[1] * 1_500, [0] * 500]
    engine.train_batch(batch(masks, [[0] * 1_500, [0] * 500]), no_loss)
    assert naps_s == [pytest.approx(0.02)]


def test_the_journal_counts_trained_tokens_by_the_version_that_made_them(
    engine: training.PacedEngine, file: Path
) -> None:
    engine.train_batch(batch([[0, 1, 1], [1, 1, 1, 1]], [[3, 3, 4], [4, 5, 5, 1000]]), no_loss)
    (found,) = journal.read(file)
    assert found.trained_tokens_by_version == {3: 1, 4: 2, 5: 2, 1000: 1}
    assert (found.trajectories, found.forwarded_tokens, found.trained_tokens) == (2, 7, 6)


def test_a_batch_of_masked_tokens_alone_trains_on_nothing(engine: training.PacedEngine, file: Path) -> None:
    engine.train_batch(batch([[0, 0]], [[1, 2]]), no_loss)
    assert journal.read(file)[0].trained_tokens == 0


def test_metrics_say_that_compute_is_paced_and_what_the_run_takes_of_the_machine(engine: training.PacedEngine) -> None:
    first = engine.train_batch(batch([[1]], [[0]]), no_loss)["metrics"]
    second = engine.train_batch(batch([[1]], [[0]]), no_loss)["metrics"]
    assert first["paced/compute/max"] == 1.0
    assert "paced/processor_share/max" not in first
    assert second["paced/processor_share/max"] >= 0.0


def test_log_probabilities_are_refused(engine: training.PacedEngine) -> None:
    with pytest.raises(WrongUse, match="bypass_mode=true"):
        engine.infer_batch(batch([[1]], [[0]]))


@given(
    st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 5_000)), min_size=1, max_size=8), min_size=1, max_size=4)
)
def test_versions_survive_as_log_probabilities_in_single_precision(rows: list[list[tuple[bool, int]]]) -> None:
    masks = [torch.tensor([is_trained for is_trained, _ in row]) for row in rows]
    log_probs = [torch.tensor([-version * VERSION_UNIT for _, version in row], dtype=torch.float32) for row in rows]
    found = tokens_by_version(masks, log_probs)
    trained = [version for row in rows for is_trained, version in row if is_trained]
    assert found == {version: trained.count(version) for version in sorted(set(trained))}


def test_the_run_of_a_process_without_ray_is_the_process() -> None:
    process = psutil.Process()
    assert processors.root_of(process) == process
    assert processors.processor_s(process) > 0.0


def test_a_share_is_one_of_all_processors() -> None:
    assert processors.share(3.0, 2.0) == pytest.approx(1.5 / psutil.cpu_count())


FITTING = {
    "actor_rollout_ref.rollout.name": "pangu_paced",
    "actor_rollout_ref.rollout.checkpoint_engine.backend": "pangu_paced",
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
    "actor_rollout_ref.rollout.calculate_log_probs": True,
    "actor_rollout_ref.rollout.max_num_seqs": 4,
    "actor_rollout_ref.rollout.response_length": 400,
    "actor_rollout_ref.actor.strategy": "pangu_paced",
    "actor_rollout_ref.actor.use_kl_loss": False,
    "algorithm.adv_estimator": "grpo",
    "algorithm.rollout_correction.bypass_mode": True,
    "algorithm.use_kl_in_reward": False,
    "trainer.nnodes": 1,
    "trainer.n_gpus_per_node": 1,
    "trainer.save_freq": -1,
    "trainer.resume_mode": "disable",
}


def configuration(**changes: Any) -> Any:
    config = OmegaConf.create({})
    for key, value in (FITTING | changes).items():
        OmegaConf.update(config, key, value)
    return config


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        (
            "algorithm.rollout_correction.bypass_mode",
            False,
            "needs algorithm.rollout_correction.bypass_mode=True, got F",
        ),
        ("actor_rollout_ref.actor.use_kl_loss", True, "needs actor_rollout_ref.actor.use_kl_loss=False, got True"),
        ("algorithm.adv_estimator", "gae", "needs algorithm.adv_estimator=grpo, got gae"),
        ("trainer.save_freq", 2, "needs trainer.save_freq=-1, got 2"),
        ("trainer.n_gpus_per_node", 2, "needs trainer.n_gpus_per_node=1, got 2"),
        ("actor_rollout_ref.actor.strategy", "fsdp2", "needs actor_rollout_ref.actor.strategy=pangu_paced, got fsdp2"),
        ("actor_rollout_ref.rollout.max_num_seqs", 3, "max_num_seqs=3 is no multiple of the 2 slots"),
        ("actor_rollout_ref.rollout.response_length", 399, "which have up to 400 tokens"),
    ],
)
def test_what_a_paced_run_cannot_do_is_refused_by_key(
    engine: training.PacedEngine, key: str, value: Any, complaint: str
) -> None:
    refuse_configuration(configuration())
    with pytest.raises(WrongUse, match=complaint):
        refuse_configuration(configuration(**{key: value}))
