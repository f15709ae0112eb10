"""Known traps: each is found where it lies, and the shipped configurations walk into none."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from pangu_verl.integrations.verl import config_lint, processors
from pangu_verl.integrations.verl.config_lint import RULES, Target, Trap, lint
from pangu_verl.integrations.verl.configuration import compose
from pangu_verl.integrations.verl.pool_rewards import PATH

BACKENDS: dict[str, Target] = {
    "cpu": "cpu",
    "cuda": "cuda",
    "cuda_megatron": "cuda",
    "npu_fsdp": "npu",
    "npu_megatron": "npu",
}
MANY_PROCESSORS = 256
ROLLOUT = "actor_rollout_ref.rollout"
SEPARATE = {"trainer.v1.trainer_mode": "separate_async", f"{ROLLOUT}.nnodes": 1}
WITHOUT_LOG_PROBS = {f"{ROLLOUT}.calculate_log_probs": False}
DECOUPLED = {"algorithm.rollout_correction.bypass_mode": False}


@pytest.fixture(scope="module")
def shipped() -> dict[str, DictConfig]:
    """The configuration ``ppo`` on every backend."""
    before = dict(os.environ)
    found = {backend: compose("ppo", [f"backend={backend}"]) for backend in BACKENDS}
    os.environ.clear()
    os.environ.update(before)
    return found


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large machine whose environment sets nothing."""
    monkeypatch.setattr(processors.psutil, "cpu_count", lambda: MANY_PROCESSORS)
    for name in ("PYTORCH_NPU_ALLOC_CONF", "VLLM_ASCEND_ENABLE_NZ", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def changed(config: DictConfig, changes: dict[str, Any]) -> DictConfig:
    config = copy.deepcopy(config)
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    return config


def traps(shipped: dict[str, DictConfig], backend: str, **changes: Any) -> list[Trap]:
    return lint(changed(shipped[backend], changes), BACKENDS[backend])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shipped_configuration_walks_into_no_trap(shipped: dict[str, DictConfig], backend: str) -> None:
    assert traps(shipped, backend) == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["colocate_async", "separate_async"])
def test_an_asynchronous_mode_alone_is_no_trap(shipped: dict[str, DictConfig], backend: str, mode: str) -> None:
    assert traps(shipped, backend, **{**SEPARATE, "trainer.v1.trainer_mode": mode}) == []


#: A rule's name, a backend, and the changes of its shipped configuration that walk into the trap.
TRAPS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("hybrid_engine", "problem", "cuda", {**SEPARATE, "actor_rollout_ref.hybrid_engine": False}),
    ("checkpoint_engine.backend", "problem", "cuda", {**SEPARATE, f"{ROLLOUT}.checkpoint_engine.backend": "naive"}),
    ("checkpoint_engine.backend", "problem", "npu_fsdp", {f"{ROLLOUT}.checkpoint_engine.backend": "hccl"}),
    ("checkpoint_engine.backend", "problem", "npu_fsdp", {f"{ROLLOUT}.checkpoint_engine.backend": "delta_sharded"}),
    ("checkpoint_engine.backend", "problem", "cpu", {f"{ROLLOUT}.checkpoint_engine.backend": "delta_sharded"}),
    ("rollout_correction.bypass_mode", "problem", "cpu", WITHOUT_LOG_PROBS),
    (
        "rollout_correction",
        "problem",
        "cuda",
        {**WITHOUT_LOG_PROBS, **DECOUPLED, "algorithm.rollout_correction.rollout_is": "token"},
    ),
    (
        "max_off_policy_threshold",
        "warning",
        "cuda",
        {**WITHOUT_LOG_PROBS, **DECOUPLED, "trainer.v1.trainer_mode": "colocate_async"},
    ),
    ("reward_model.enable", "warning", "cuda", {"reward.reward_model.enable": True}),
    (
        "reward_model.enable_resource_pool",
        "problem",
        "cuda",
        {"reward.reward_model.enable": True, "reward.custom_reward_function.path": PATH},
    ),
    (
        "reward_model.enable",
        "problem",
        "cuda",
        {"reward.reward_model.enable": True, "reward.reward_model.enable_resource_pool": True},
    ),
    ("reward_manager.rate_limited", "warning", "cuda", {"reward.reward_manager.name": "rate_limited"}),
    ("custom_sampler", "problem", "cpu", {"algorithm.filter_groups.enable": True}),
    ("custom_sampler", "problem", "cpu", {"trainer.v1.sampler.sync_refill_failed_groups": True}),
    ("checkpoint_manager_class", "problem", "cuda", {f"{ROLLOUT}.checkpoint_manager_class": "mine.Manager"}),
    ("esi_redundant_time", "warning", "cuda", {"trainer.esi_redundant_time": 300}),
    ("ray_init.num_cpus", "problem", "cuda", {"ray_kwargs.ray_init.num_cpus": 16}),
    ("ray_init.num_cpus", "problem", "cpu", {"transfer_queue.backend.SimpleStorage.num_data_storage_units": 16}),
    ("actor.strategy", "problem", "cpu", {"actor_rollout_ref.actor.strategy": "fsdp"}),
    (
        "attn_implementation",
        "problem",
        "cpu",
        {"actor_rollout_ref.model.override_config.attn_implementation": "flash_attention_2"},
    ),
    ("use_torch_compile", "warning", "npu_fsdp", {"actor_rollout_ref.actor.fsdp_config.use_torch_compile": True}),
    ("enable_sleep_mode", "problem", "npu_fsdp", {f"{ROLLOUT}.enable_sleep_mode": False}),
    (
        "PYTORCH_NPU_ALLOC_CONF",
        "problem",
        "npu_megatron",
        {"ray_kwargs.ray_init.runtime_env.env_vars.PYTORCH_NPU_ALLOC_CONF": "expandable_segments:True"},
    ),
    (
        "weight_nz_mode",
        "problem",
        "npu_fsdp",
        {f"{ROLLOUT}.engine_kwargs.vllm.additional_config.weight_nz_mode": 1},
    ),
]


@pytest.mark.parametrize(("name", "status", "backend", "changes"), TRAPS)
def test_a_trap_is_found(
    shipped: dict[str, DictConfig], name: str, status: str, backend: str, changes: dict[str, Any]
) -> None:
    found = traps(shipped, backend, **changes)
    assert [(trap.name, trap.status) for trap in found] == [(name, status)]
    assert found[0].advice
    assert found[0].source is not None and (
        "https://github.com/" in found[0].source or "verl 0.9.1, " in found[0].source
    )


def test_every_rule_has_a_trap_in_these_tests(shipped: dict[str, DictConfig], tmp_path: Path) -> None:
    walked_into = [(changed(shipped[backend], changes), BACKENDS[backend]) for _, _, backend, changes in TRAPS]
    walked_into.append((changed(shipped["npu_fsdp"], model(tmp_path, LARGE)), "npu"))
    silent = [rule.__name__ for rule in RULES if not any(rule(config, target) for config, target in walked_into)]
    assert silent == []


@pytest.mark.parametrize(
    ("backend", "changes"),
    [
        ("npu_fsdp", {"actor_rollout_ref.hybrid_engine": False}),
        ("cuda", {f"{ROLLOUT}.checkpoint_engine.backend": "naive"}),
        ("cuda", {f"{ROLLOUT}.checkpoint_engine.backend": "delta_sharded"}),
        ("cuda", {**WITHOUT_LOG_PROBS, **DECOUPLED}),
        ("cuda", {"reward.reward_model.enable": True, "reward.custom_reward_function.path": "mine.py"}),
        (
            "cuda",
            {
                "reward.reward_model.enable": True,
                "reward.reward_model.enable_resource_pool": True,
                "reward.custom_reward_function.path": PATH,
            },
        ),
        ("cuda", {"reward.reward_manager.name": "rate_limited", "reward.num_workers": 1}),
        ("cpu", {"algorithm.filter_groups.enable": True, "trainer.v1.sampler.custom_sampler.path": None}),
        ("cuda", {"actor_rollout_ref.actor.strategy": "fsdp"}),
        ("cuda", {"ray_kwargs.ray_init.num_cpus": 16, "ray_kwargs.ray_init.address": "auto"}),
        ("cuda", {"ray_kwargs.ray_init.num_cpus": 16, "trainer.nnodes": 2}),
        ("npu_fsdp", {f"{ROLLOUT}.enable_sleep_mode": False, f"{ROLLOUT}.free_cache_engine": False}),
        ("cuda", {f"{ROLLOUT}.enable_sleep_mode": False}),
        ("npu_fsdp", {f"{ROLLOUT}.engine_kwargs.vllm.additional_config.weight_nz_mode": 0}),
    ],
)
def test_what_only_resembles_a_trap_is_none(
    shipped: dict[str, DictConfig], backend: str, changes: dict[str, Any]
) -> None:
    assert traps(shipped, backend, **changes) == []


# --- environment -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("PYTORCH_NPU_ALLOC_CONF", "page_size:1g,expandable_segments:True", "PYTORCH_NPU_ALLOC_CONF"),
        ("VLLM_ASCEND_ENABLE_NZ", "1", "weight_nz_mode"),
        ("VLLM_ASCEND_ENABLE_NZ", "2", "weight_nz_mode"),
    ],
)
def test_a_variable_of_the_users_environment_is_a_trap_on_npus_alone(
    shipped: dict[str, DictConfig], monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert [trap.name for trap in traps(shipped, "npu_fsdp")] == [name]
    assert traps(shipped, "cuda") == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PYTORCH_NPU_ALLOC_CONF", "expandable_segments:False"), ("VLLM_ASCEND_ENABLE_NZ", "0")],
)
def test_a_variable_with_a_sound_value_is_no_trap(
    shipped: dict[str, DictConfig], monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert traps(shipped, "npu_fsdp") == []


def test_the_configurations_variable_counts_more_than_the_users(
    shipped: dict[str, DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_ASCEND_ENABLE_NZ", "1")
    key = "ray_kwargs.ray_init.runtime_env.env_vars.VLLM_ASCEND_ENABLE_NZ"
    assert traps(shipped, "npu_fsdp", **{key: "0"}) == []


# --- processors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("processors", "is_trap"), [(5, True), (6, False)])
def test_processors_are_counted_to_the_last(shipped: dict[str, DictConfig], processors: int, is_trap: bool) -> None:
    """1 controller + 1 storage unit + 3 for the trainer's device + 1 to place a worker."""
    found = traps(shipped, "cpu", **{"ray_kwargs.ray_init.num_cpus": processors})
    assert [trap.name for trap in found] == ["ray_init.num_cpus"] * is_trap


def test_servers_on_devices_of_their_own_hold_processors(shipped: dict[str, DictConfig]) -> None:
    few = {"ray_kwargs.ray_init.num_cpus": 7}
    assert traps(shipped, "cpu", **few) == []
    found = traps(shipped, "cpu", **few, **SEPARATE)
    assert "the run holds 8, 2 of them for TransferQueue" in found[0].found
    assert found[0].advice.startswith("set ray_kwargs.ray_init.num_cpus=8")


def test_without_a_number_ray_has_the_machines_processors(
    shipped: dict[str, DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors.psutil, "cpu_count", lambda: 8)
    found = traps(shipped, "cuda")
    assert "Ray has 8 logical processors" in found[0].found
    assert "TransferQueue waits for ever" in found[0].found


# --- bucket ----------------------------------------------------------------------------------------------------------

LARGE = {"vocab_size": 151_936, "hidden_size": 5_120}


def model(folder: Path, facts: Any) -> dict[str, Any]:
    (folder / "config.json").write_text(facts if isinstance(facts, str) else json.dumps(facts))
    return {"actor_rollout_ref.model.path": str(folder)}


@pytest.mark.parametrize("facts", [LARGE, {"text_config": LARGE}])
def test_an_embedding_larger_than_the_bucket_is_a_trap_on_npus(
    shipped: dict[str, DictConfig], tmp_path: Path, facts: dict[str, Any]
) -> None:
    found = traps(shipped, "npu_fsdp", **model(tmp_path, facts))
    assert [trap.name for trap in found] == ["update_weights_bucket_megabytes"]
    assert "takes 2968 MiB" in found[0].found
    assert found[0].advice.endswith("update_weights_bucket_megabytes=4096")
    assert traps(shipped, "cuda", **model(tmp_path, facts)) == []


def test_megatron_sends_half_the_bytes(shipped: dict[str, DictConfig], tmp_path: Path) -> None:
    assert traps(shipped, "npu_megatron", **model(tmp_path, LARGE)) == []


def test_a_larger_bucket_is_no_trap(shipped: dict[str, DictConfig], tmp_path: Path) -> None:
    bucket = {f"{ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes": 4096}
    assert traps(shipped, "npu_fsdp", **model(tmp_path, LARGE), **bucket) == []


@pytest.mark.parametrize("facts", ["{", "[]", {"vocab_size": "many", "hidden_size": 4}, {"text_config": 3}, {}])
def test_a_model_that_cannot_be_read_is_left_alone(shipped: dict[str, DictConfig], tmp_path: Path, facts: Any) -> None:
    assert traps(shipped, "npu_fsdp", **model(tmp_path, facts)) == []


# --- hostile configurations ------------------------------------------------------------------------------------------


def test_a_rule_that_fails_is_unknown_and_the_others_are_asked(
    shipped: dict[str, DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(config: DictConfig, target: Target) -> Trap | None:
        raise ValueError("no such thing")

    monkeypatch.setattr(config_lint, "RULES", (broken, *RULES))
    found = traps(shipped, "cpu", **{"algorithm.filter_groups.enable": True})
    assert [(trap.name, trap.status) for trap in found] == [("broken", "unknown"), ("custom_sampler", "problem")]
    assert "ValueError: no such thing" in found[0].found


@pytest.mark.parametrize("target", ["cpu", "cuda", "npu"])
@pytest.mark.parametrize(
    "content",
    [
        {},
        {"actor_rollout_ref": None, "trainer": 3, "reward": "none", "ray_kwargs": []},
        {"transfer_queue": {"backend": {"SimpleStorage": {"num_data_storage_units": "many"}}}},
        {"reward": {"num_workers": None, "reward_manager": {"name": "rate_limited"}}},
        {"trainer": {"nnodes": "two"}},
    ],
)
def test_a_strange_configuration_raises_nothing(target: Target, content: dict[str, Any]) -> None:
    assert isinstance(lint(OmegaConf.create(content), target), list)
