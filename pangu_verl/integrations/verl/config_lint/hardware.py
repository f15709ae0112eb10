"""What a CPU or an Ascend NPU cannot do.

The sleep level of vLLM-Ascend, with wrong results at level 2 (verl pull requests 3355, 6170 and 7086), is no key of
verl 0.9.1: ``vllm_async_server.py:1289`` takes level 1 wherever torch_npu is installed.
"""

from __future__ import annotations

from omegaconf import DictConfig

from pangu_verl.integrations.verl.config_lint.trap import ROLLOUT, UPSTREAM, VERL, Rule, Target, Trap, value, variable

_ACTOR = "actor_rollout_ref.actor"
_MODEL = "actor_rollout_ref.model"
_ASCEND = "https://github.com/vllm-project/vllm-ascend"
_NZ_MODE = f"{ROLLOUT}.engine_kwargs.vllm.additional_config.weight_nz_mode"


def fsdp1_on_a_cpu(config: DictConfig, target: Target) -> Trap | None:
    """FSDP1 copies module states between ranks on accelerators only."""
    if target != "cpu" or value(config, f"{_ACTOR}.strategy") != "fsdp":
        return None
    return Trap(
        name="actor.strategy",
        status="problem",
        found=f"{_ACTOR}.strategy=fsdp (FSDP1) on a CPU: torch refuses CPU parameters with sync_module_states",
        advice=f"set {_ACTOR}.strategy=fsdp2 {_ACTOR}.fsdp_config.strategy=fsdp2",
        source=f"{VERL}, workers/engine/fsdp/transformer_impl.py:444",
    )


def flash_attention_on_a_cpu(config: DictConfig, target: Target) -> Trap | None:
    """verl's own default for attention has no CPU kernel."""
    key = f"{_MODEL}.override_config.attn_implementation"
    chosen = str(value(config, key, "flash_attention_2"))
    if target != "cpu" or not chosen.startswith("flash_attention"):
        return None
    return Trap(
        name="attn_implementation",
        status="problem",
        found=f"{key}={chosen} on a CPU (verl takes flash_attention_2 where nothing is set)",
        advice=f"set {key}=pangu_cpu_packed, or sdpa with {_MODEL}.use_remove_padding=false",
        source=f"{VERL}, workers/config/model.py:185",
    )


def compiled_entropy_on_an_npu(config: DictConfig, target: Target) -> Trap | None:
    """torch.compile has no complete backend there; verl's recipes for Ascend switch it off."""
    key = f"{_ACTOR}.fsdp_config.use_torch_compile"
    is_fsdp = str(value(config, f"{_ACTOR}.strategy")).startswith("fsdp")
    if target != "npu" or not is_fsdp or not value(config, key, True):
        return None
    return Trap(
        name="use_torch_compile",
        status="warning",
        found=f"{key}=true on an NPU: with {_MODEL}.use_remove_padding the actor ended in BackendCompilerFailed",
        advice=f"set {key}=false {_ACTOR}.use_torch_compile=false",
        source=f"{UPSTREAM}/issues/3618",
    )


def sleep_mode_off_on_an_npu(config: DictConfig, target: Target) -> Trap | None:
    """verl puts the servers to sleep all the same, and vLLM-Ascend has prepared its allocator for staying awake."""
    if not _sleeps_on_an_npu(config, target) or value(config, f"{ROLLOUT}.enable_sleep_mode", True):
        return None
    return Trap(
        name="enable_sleep_mode",
        status="problem",
        found=f"{ROLLOUT}.enable_sleep_mode=false with free_cache_engine=true: vLLM-Ascend switches expandable "
        "segments on, and the first sleep fails on them",
        advice=f"leave enable_sleep_mode=true, or set {ROLLOUT}.free_cache_engine=false as well",
        source=f"{_ASCEND}/blob/v0.23.0/vllm_ascend/platform.py#L776",
    )


def expandable_segments_on_an_npu(config: DictConfig, target: Target) -> Trap | None:
    """The memory pool of sleep mode cannot grow in segments."""
    given = variable(config, "PYTORCH_NPU_ALLOC_CONF")
    if not _sleeps_on_an_npu(config, target) or "expandable_segments:True" not in given:
        return None
    return Trap(
        name="PYTORCH_NPU_ALLOC_CONF",
        status="problem",
        found=f"PYTORCH_NPU_ALLOC_CONF={given} with vLLM-Ascend's sleep mode, which fails on expandable segments",
        advice="unset PYTORCH_NPU_ALLOC_CONF; verl switches the segments on and off for the trainer by itself",
        source=f"{_ASCEND}/pull/9242",
    )


def weight_format_on_an_npu(config: DictConfig, target: Target) -> Trap | None:
    """Weights in the NPU's own layout cannot be replaced; verl switches it off unless told otherwise."""
    if not _sleeps_on_an_npu(config, target):
        return None
    by_key, by_variable = value(config, _NZ_MODE), variable(config, "VLLM_ASCEND_ENABLE_NZ")
    if by_key:
        found, advice = f"{_NZ_MODE}={by_key}", f"set {_NZ_MODE}=0"
    elif by_key is None and by_variable not in ("", "0"):
        found, advice = f"VLLM_ASCEND_ENABLE_NZ={by_variable}", "unset VLLM_ASCEND_ENABLE_NZ, which verl then sets to 0"
    else:
        return None
    return Trap(
        name="weight_nz_mode",
        status="problem",
        found=f"{found}: vLLM-Ascend refuses to wake up with weights in the FRACTAL_NZ layout",
        advice=advice,
        source=f"{_ASCEND}/blob/v0.23.0/vllm_ascend/worker/worker.py#L241",
    )


def _sleeps_on_an_npu(config: DictConfig, target: Target) -> bool:
    uses_vllm = value(config, f"{ROLLOUT}.name") == "vllm"
    return target == "npu" and uses_vllm and bool(value(config, f"{ROLLOUT}.free_cache_engine", True))


RULES: tuple[Rule, ...] = (
    fsdp1_on_a_cpu,
    flash_attention_on_a_cpu,
    compiled_entropy_on_an_npu,
    sleep_mode_off_on_an_npu,
    expandable_segments_on_an_npu,
    weight_format_on_an_npu,
)
