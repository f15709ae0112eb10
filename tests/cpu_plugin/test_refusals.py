"""What the CPU rollout cannot do is refused by the name of its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf
from pangu_verl_cpu.refusals import refuse_configuration, refuse_unsupported
from transformers import LlamaConfig, PretrainedConfig, Qwen2VLConfig
from verl.workers.config import RolloutConfig


def rollout(**changes: Any) -> RolloutConfig:
    return RolloutConfig(**{"name": "pangu_cpu", "tensor_model_parallel_size": 1, **changes})


class Altered:
    """A rollout configuration with a value that verl itself would refuse for this backend."""

    def __init__(self, key: str, value: Any) -> None:
        self._whole = rollout()
        self._path, self._value = key.split("."), value

    def __getattr__(self, name: str) -> Any:
        if name != self._path[0]:
            return getattr(self._whole, name)
        return self._value if len(self._path) == 1 else type("Section", (), {self._path[1]: self._value})


def test_the_plain_configuration_passes() -> None:
    refuse_unsupported(rollout(), OmegaConf.create({"lora_rank": 0}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tensor_model_parallel_size", 2),
        ("data_parallel_size", 2),
        ("pipeline_model_parallel_size", 2),
        ("expert_parallel_size", 2),
        ("multi_turn.enable", True),
        ("agent.default_agent_loop", "tool_agent"),
        ("disaggregation.enabled", True),
        ("ignore_eos", True),
        ("full_determinism", True),
        ("enable_rollout_routing_replay", True),
        ("quantization", "fp8"),
        ("logprobs_mode", "raw_logprobs"),
    ],
)
def test_a_key_that_cannot_be_honoured_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"actor_rollout_ref\.rollout\.{key}=.*, got"):
        refuse_unsupported(Altered(key, value), {"lora_rank": 0})


def test_lora_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"actor_rollout_ref\.model\.lora_rank=0, got 8"):
        refuse_unsupported(rollout(), {"lora_rank": 8})


@pytest.mark.parametrize("model", [{}, {"lora_rank": None}, OmegaConf.create({"lora_rank": 0})], ids=str)
def test_a_model_without_lora_passes(model: Any) -> None:
    refuse_unsupported(rollout(), model)


def test_values_are_written_as_in_the_configuration() -> None:
    with pytest.raises(ValueError, match=r"rollout\.quantization=null, got fp8"):
        refuse_unsupported(rollout(quantization="fp8"), {})
    with pytest.raises(ValueError, match=r"rollout\.ignore_eos=false, got true"):
        refuse_unsupported(rollout(ignore_eos=True), {})


# A run's whole configuration


def whole(folder: Path, model: PretrainedConfig, *overrides: str) -> DictConfig:
    """verl's own configuration of a run on a CPU."""
    model.save_pretrained(folder)
    plain = ["rollout.name=pangu_cpu", "rollout.tensor_model_parallel_size=1", f"model.path={folder}"]
    keys = ["algorithm.adv_estimator=grpo", *(f"actor_rollout_ref.{key}" for key in plain), *overrides]
    with hydra.initialize_config_module("verl.trainer.config", version_base=None):
        return hydra.compose("ppo_trainer", keys)


def test_a_run_without_critic_on_text_passes(tmp_path: Path) -> None:
    refuse_configuration(whole(tmp_path, LlamaConfig()))


def test_a_run_that_asks_the_rollout_too_much_is_refused_by_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rollout\.data_parallel_size=1, got 2"):
        refuse_configuration(whole(tmp_path, LlamaConfig(), "actor_rollout_ref.rollout.data_parallel_size=2"))


def test_a_critic_is_refused_by_what_needs_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no critic, which algorithm\.adv_estimator=gae needs"):
        refuse_configuration(whole(tmp_path, LlamaConfig(), "algorithm.adv_estimator=gae"))


def test_a_model_that_sees_is_refused_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"model.path={tmp_path} is multi-modal"):
        refuse_configuration(whole(tmp_path, Qwen2VLConfig()))


def test_sequences_split_between_ranks_are_refused_by_key(tmp_path: Path) -> None:
    key = "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size"
    with pytest.raises(ValueError, match=f"{key}=1, got 2"):
        refuse_configuration(whole(tmp_path, LlamaConfig(), f"{key}=2"))
