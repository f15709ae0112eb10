"""The arithmetic of devices, servers and batches, and what is refused with which numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from preflight_checks import Change

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.layout import layout_of, visible_devices

SEPARATE = {
    "trainer__v1__trainer_mode": "separate_async",
    "trainer__v1__separate_async__parameter_sync_step": 1,
    "actor_rollout_ref__rollout__nnodes": 1,
    "actor_rollout_ref__rollout__n_gpus_per_node": 4,
    "trainer__n_gpus_per_node": 4,
    "ray_kwargs__ray_init__num_gpus": 8,
}


def refusal(config: DictConfig) -> str:
    with pytest.raises(WrongUse) as caught:
        layout_of(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_colocated_servers_share_the_trainers_devices(change: Change) -> None:
    layout = layout_of(
        change(
            trainer__n_gpus_per_node=4,
            ray_kwargs__ray_init__num_gpus=4,
            actor_rollout_ref__rollout__tensor_model_parallel_size=2,
            actor_rollout_ref__actor__ppo_micro_batch_size_per_gpu=8,
        )
    )
    assert (layout.devices, layout.colocated_servers, layout.separate_servers) == (4, 2, 0)
    assert layout.trajectories_per_step == 64
    assert layout.trajectories_per_worker_mini_batch == 16


def test_separate_servers_come_on_top(change: Change) -> None:
    layout = layout_of(
        change(
            **SEPARATE,
            actor_rollout_ref__rollout__tensor_model_parallel_size=2,
            actor_rollout_ref__actor__ppo_micro_batch_size_per_gpu=8,
        )
    )
    assert (layout.devices, layout.trainer_workers, layout.separate_servers) == (8, 4, 2)


def test_tensor_parallel_that_does_not_divide_the_devices_is_counted(change: Change) -> None:
    config = change(
        trainer__n_gpus_per_node=4,
        ray_kwargs__ray_init__num_gpus=4,
        actor_rollout_ref__rollout__tensor_model_parallel_size=3,
    )
    assert "= 3 devices, and trainer.n_gpus_per_node x trainer.nnodes = 4 do not divide" in refusal(config)


def test_tensor_parallel_that_does_not_divide_the_heads_is_counted(change: Change, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 9}))
    config = change(
        actor_rollout_ref__model__path=str(tmp_path),
        actor_rollout_ref__rollout__tensor_model_parallel_size=2,
        trainer__n_gpus_per_node=2,
        actor_rollout_ref__actor__ppo_micro_batch_size_per_gpu=8,
    )
    assert refusal(config) == (
        "actor_rollout_ref.rollout.tensor_model_parallel_size=2 does not divide the model's 9 attention heads; "
        "choose a divisor"
    )


@pytest.mark.parametrize("content", ["", "[]", '{"num_attention_heads": "nine"}'])
def test_a_model_whose_heads_are_unknown_is_left_to_verl(change: Change, tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    layout_of(change(actor_rollout_ref__model__path=str(tmp_path)))


def test_separate_training_that_does_not_use_up_a_batch_is_counted(change: Change) -> None:
    config = change(
        **{**SEPARATE, "trainer__v1__separate_async__parameter_sync_step": 2},
        actor_rollout_ref__actor__ppo_micro_batch_size_per_gpu=8,
    )
    assert refusal(config) == (
        "separate_async trains parameter_sync_step x actor.ppo_mini_batch_size = 2 x 8 = 16 prompts between two weight "
        "updates, and data.train_batch_size is 8; make them equal"
    )


def test_more_devices_than_ray_is_offered_are_counted(change: Change) -> None:
    config = change(trainer__n_gpus_per_node=4, actor_rollout_ref__actor__ppo_micro_batch_size_per_gpu=8)
    assert "ask for 4 devices and ray_kwargs.ray_init.num_gpus offers 2" in refusal(config)


# --- devices of this node ----------------------------------------------------------------------------------------------


@pytest.fixture
def on_six(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "0,1,2,3,4,5")


NPU = {
    "trainer__device": "npu",
    "trainer__n_gpus_per_node": 8,
    "ray_kwargs__ray_init__num_gpus": None,
    "actor_rollout_ref__actor__ppo_micro_batch_size_per_gpu": 8,
}


def test_eight_devices_on_a_node_with_six_are_refused(change: Change, on_six: None) -> None:
    assert refusal(change(**NPU)) == ("trainer.n_gpus_per_node=8 and this node has 6 npu devices; ask for fewer")


def test_trainer_and_rollout_that_do_not_fit_one_node_are_added_up(change: Change, on_six: None) -> None:
    config = change(**{**NPU, **SEPARATE, "ray_kwargs__ray_init__num_gpus": None})
    assert "trainer (4) and rollout (4) ask for 8 devices and this node has 6" in refusal(config)


def test_a_cluster_is_not_counted_from_here(change: Change, on_six: None) -> None:
    assert layout_of(change(**NPU, ray_kwargs__ray_init__address="auto")).devices == 8


def test_a_machine_without_devices_is_no_reason_to_refuse(change: Change) -> None:
    assert visible_devices(change(**NPU)) is None
    assert layout_of(change(**NPU)).devices == 8


@given(
    groups=st.integers(1, 4),
    prompts=st.integers(1, 12),
    responses=st.integers(1, 8),
    micro_batch=st.integers(1, 16),
)
def test_whatever_passes_divides_without_rest(
    base: DictConfig, groups: int, prompts: int, responses: int, micro_batch: int
) -> None:
    config = OmegaConf.create(OmegaConf.to_container(base))
    config.ray_kwargs.ray_init.num_gpus = groups
    config.trainer.n_gpus_per_node = groups
    config.data.train_batch_size = config.actor_rollout_ref.actor.ppo_mini_batch_size = prompts
    config.actor_rollout_ref.rollout.n = responses
    config.actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu = micro_batch
    try:
        layout = layout_of(config)
    except WrongUse:
        assert prompts * responses % groups or prompts * responses // groups % micro_batch
    else:
        passes = layout.trajectories_per_worker_mini_batch // micro_batch
        assert passes * micro_batch * groups == layout.trajectories_per_step
