"""The figures of the READMEs follow from the model's shape and the scripts' settings."""

from __future__ import annotations

import qwen3_8b
from example_scripts import FOLDERS
from omegaconf import DictConfig

ASCEND, CUDA = ((folder / "README.md").read_text() for folder in FOLDERS)
TOKENS = 8_192
NPU_GIB, CARD_GIB = 64, 80


def test_the_number_of_parameters_is_the_models() -> None:
    assert f"{qwen3_8b.PARAMETERS:,} parameters" in ASCEND


def test_the_table_of_memory_is_the_arithmetic(configurations: dict[str, DictConfig]) -> None:
    config = configurations["run_qwen3_8b_megatron_npu"].actor_rollout_ref
    parallel = config.actor.megatron.tensor_model_parallel_size
    assert config.actor.ppo_max_token_len_per_gpu == TOKENS
    rollout = config.rollout.gpu_memory_utilization * NPU_GIB
    layouts = {
        "FSDP2, 8": qwen3_8b.fsdp2_gib(8, TOKENS),
        "FSDP2, 4 + 4": qwen3_8b.fsdp2_gib(4, TOKENS),
        "Megatron, 8": qwen3_8b.megatron_gib(8, TOKENS, parallel),
        "Megatron, 4 + 4": qwen3_8b.megatron_gib(4, TOKENS, parallel),
    }
    rows = [
        f"| {name} | {' | '.join(f'{part:.1f}' for part in (*parts, sum(parts), rollout))} |"
        for name, parts in layouts.items()
    ]
    assert [line for line in ASCEND.splitlines() if line.startswith(("| FSDP2, ", "| Megatron, "))] == rows


def test_every_peak_leaves_a_device_room_for_graphs_and_runtime() -> None:
    peaks = [sum(qwen3_8b.fsdp2_gib(4, TOKENS)), sum(qwen3_8b.megatron_gib(4, TOKENS, 4)), 0.7 * NPU_GIB]
    assert max(peaks) < 0.8 * NPU_GIB


def test_the_sizes_in_the_text_are_the_arithmetic(configurations: dict[str, DictConfig]) -> None:
    config = configurations["run_qwen3_8b_fsdp2_npu"].actor_rollout_ref.rollout
    parallel, share = config.tensor_model_parallel_size, config.gpu_memory_utilization
    assert f"{qwen3_8b.rollout_weights_gib(parallel):.1f} are weights" in ASCEND
    assert f"{qwen3_8b.rollout_weights_gib(1):.1f} GiB of sleeping weights for each server" in ASCEND
    assert f"{12 * qwen3_8b.PARAMETERS / qwen3_8b.GIB:.0f} GiB of state" in ASCEND
    for text, budget_gib in ((ASCEND, share * NPU_GIB), (CUDA, share * CARD_GIB)):
        sequences = qwen3_8b.cached_sequences(budget_gib, parallel, config.max_model_len)
        assert f"{sequences} sequences of 4,096" in text
    assert f"{share:g} of {CARD_GIB} GiB = {share * CARD_GIB:.1f} GiB" in CUDA


def test_the_larger_model_that_does_not_fit_is_the_arithmetic() -> None:
    parameters = 30_532_122_624
    assert f"{parameters:,} x 16 bytes / 8 = {parameters * 16 / 8 / qwen3_8b.GIB:.1f} GiB" in ASCEND
