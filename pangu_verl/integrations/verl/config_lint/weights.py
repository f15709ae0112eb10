"""Traps on the way of weights from trainer to rollout."""

from __future__ import annotations

import math

from omegaconf import DictConfig

from pangu_verl.integrations.verl.config_lint.trap import (
    ROLLOUT,
    UPSTREAM,
    VERL,
    Rule,
    Target,
    Trap,
    value,
)
from pangu_verl.integrations.verl.layout import is_separate, model_facts

_BACKEND = f"{ROLLOUT}.checkpoint_engine.backend"
_BUCKET = f"{ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes"
_BYTES = {"fp32": 4, "float32": 4, "bf16": 2, "bfloat16": 2, "fp16": 2, "float16": 2}
#: Room beside the largest tensor that verl's Ascend FAQ recommends.
_BUCKET_MARGIN = 1.2


def hybrid_engine(config: DictConfig, target: Target) -> Trap | None:
    """``hybrid_engine=false`` stops separate_async at its start."""
    if not is_separate(config) or value(config, "actor_rollout_ref.hybrid_engine", True):
        return None
    return Trap(
        name="hybrid_engine",
        status="problem",
        found="actor_rollout_ref.hybrid_engine=false in trainer mode separate_async: verl logs with an argument that "
        "its logger does not take, and the run ends with a TypeError",
        advice="leave actor_rollout_ref.hybrid_engine=true",
        source=f"{VERL}, trainer/ppo/v1/trainer_separate_async.py:181",
    )


def naive_checkpoint_engine(config: DictConfig, target: Target) -> Trap | None:
    """The in-process engine cannot reach servers on devices of their own."""
    if not is_separate(config) or value(config, _BACKEND, "naive") != "naive":
        return None
    fitting = {"cpu": "pangu_cpu", "cuda": "nccl", "npu": "nccl (verl registers HCCL under that name)"}
    return Trap(
        name="checkpoint_engine.backend",
        status="problem",
        found=f"{_BACKEND}=naive in trainer mode separate_async: verl refuses it after the workers have started",
        advice=f"set {_BACKEND}={fitting[target]}",
        source=f"{VERL}, trainer/ppo/v1/trainer_separate_async.py:68",
    )


def hccl_checkpoint_engine(config: DictConfig, target: Target) -> Trap | None:
    """verl's comment beside the key names "hccl", which no engine is registered as."""
    if value(config, _BACKEND) != "hccl":
        return None
    return Trap(
        name="checkpoint_engine.backend",
        status="problem",
        found=f"{_BACKEND}=hccl: verl registers its HCCL engine as nccl and knows no hccl",
        advice=f"set {_BACKEND}=nccl",
        source=f"{VERL}, checkpoint_engine/hccl_checkpoint_engine.py:103; {UPSTREAM}/pull/7872",
    )


def delta_checkpoint_engine(config: DictConfig, target: Target) -> Trap | None:
    """Delta weight sync needs cupy and CUDA's interprocess handles."""
    if target == "cuda" or value(config, _BACKEND) != "delta_sharded":
        return None
    return Trap(
        name="checkpoint_engine.backend",
        status="problem",
        found=f"{_BACKEND}=delta_sharded works on CUDA alone",
        advice=f"set {_BACKEND}={'nccl' if target == 'npu' else 'pangu_cpu'}",
        source=f"{UPSTREAM}/issues/7787",
    )


def bucket(config: DictConfig, target: Target) -> Trap | None:
    """A tensor that does not fit the bucket stops the update where NPUs cannot share memory between processes."""
    if target != "npu" or value(config, f"{ROLLOUT}.name") != "vllm":
        return None
    size_mib, bucket_mib = _embedding_mib(config), value(config, _BUCKET, 2048)
    if size_mib is None or size_mib <= bucket_mib:
        return None
    fitting = 2 ** math.ceil(math.log2(_BUCKET_MARGIN * size_mib))
    return Trap(
        name="update_weights_bucket_megabytes",
        status="warning",
        found=f"the model's embedding takes {size_mib:.0f} MiB and {_BUCKET}={bucket_mib}: the first weight update "
        "fails unless driver (25.3.rc1 or later) and CANN (8.3.RC1 or later) let processes share NPU memory",
        advice=f"set {_BUCKET}={fitting}",
        source=f"{UPSTREAM}/issues/5952; {VERL}, workers/rollout/vllm_rollout/bucketed_weight_transfer.py:141",
    )


def _embedding_mib(config: DictConfig) -> float | None:
    """The embedding, commonly the largest tensor, as the trainer sends it; None where the model cannot be read."""
    facts = model_facts(config)
    text = facts.get("text_config")
    facts = text if isinstance(text, dict) else facts
    vocabulary, width = facts.get("vocab_size"), facts.get("hidden_size")
    if not isinstance(vocabulary, int) or not isinstance(width, int):
        return None
    return float(vocabulary * width * _element_bytes(config) / 2**20)


def _element_bytes(config: DictConfig) -> int:
    """FSDP sends its master weights, Megatron its half-precision ones."""
    if value(config, "actor_rollout_ref.actor.strategy") == "megatron":
        return 2
    return _BYTES.get(str(value(config, "actor_rollout_ref.actor.fsdp_config.model_dtype", "fp32")), 4)


RULES: tuple[Rule, ...] = (
    hybrid_engine,
    naive_checkpoint_engine,
    hccl_checkpoint_engine,
    delta_checkpoint_engine,
    bucket,
)
