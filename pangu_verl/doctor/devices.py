"""The devices of a target: a CPU's number formats, NVIDIA's cards; NPUs are in ``ascend``.

Whatever loads a driver is asked in a process of its own with a time limit, because it may hang or end the process.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pangu_verl.doctor import ascend, visible
from pangu_verl.doctor.child import ask, last_json
from pangu_verl.doctor.findings import Finding
from pangu_verl.integrations.verl.config_lint import Target

_SMI_TIMEOUT_S = 30.0
_IMPORT_TIMEOUT_S = 120.0
_CPUINFO = Path("/proc/cpuinfo")
#: Flags of x86 and of ARM that mean arithmetic in bfloat16.
_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
_ASK_CUDA = (
    "import json, torch; "
    "print('\\n' + json.dumps([torch.cuda.is_available(), torch.cuda.device_count(), torch.version.cuda]))"
)


def examine(target: Target) -> list[Finding]:
    """What ``target`` needs of devices, and whether torch can be imported beside torch_npu."""
    if target == "npu":
        return [*_autoload(), *ascend.examine()]
    if target == "cuda":
        return [*_autoload(), _nvidia_smi(), _torch_cuda(), visible.examine("CUDA_VISIBLE_DEVICES")]
    return [*_autoload(), _number_formats()]


def _autoload() -> list[Finding]:
    """torch loads torch_npu by itself, which fails where CANN is missing: then ``import torch`` fails on any target."""
    try:
        installed = version("torch-npu")
    except PackageNotFoundError:
        return []
    answer = ask([sys.executable, "-P", "-c", "import torch"], _IMPORT_TIMEOUT_S)
    name = "import torch"
    if not answer.trouble:
        return [Finding(name=name, status="ok", found=f"works beside torch-npu {installed}")]
    return [
        Finding(
            name=name,
            status="problem",
            found=f"fails beside torch-npu {installed}: {answer.reason}",
            advice="source CANN's set_env.sh; on a machine without NPUs uninstall torch-npu, or set "
            "TORCH_DEVICE_BACKEND_AUTOLOAD=0",
            source="https://docs.pytorch.org/docs/stable/accelerator/autoload.html",
        )
    ]


def _number_formats() -> Finding:
    name = "bfloat16"
    try:
        lines = _CPUINFO.read_text(errors="replace").splitlines()
    except OSError as error:
        return Finding(
            name=name,
            status="unknown",
            found=f"{_CPUINFO} cannot be read ({error.strerror})",
            advice="look up whether the processor has AMX or AVX512-BF16; without them use fp32",
        )
    flags = {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
    if found := sorted(flags & _BF16_FLAGS):
        return Finding(name=name, status="ok", found=", ".join(found))
    return Finding(
        name=name,
        status="warning",
        found="the processor has no instructions for bfloat16, which is then slower than fp32",
        advice="set actor_rollout_ref.rollout.dtype=float32 "
        "actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype=fp32",
    )


def _nvidia_smi() -> Finding:
    name = "nvidia-smi"
    answer = ask(["nvidia-smi", "-L"], _SMI_TIMEOUT_S)
    cards = [line for line in answer.output.splitlines() if line.startswith("GPU ")]
    if not answer.trouble and cards:
        return Finding(name=name, status="ok", found=f"{len(cards)} cards")
    return Finding(
        name=name,
        status="problem",
        found=answer.reason if answer.trouble else "lists no card",
        advice="install NVIDIA's driver; in a container, start it with --gpus all",
    )


def _torch_cuda() -> Finding:
    name = "torch.cuda"
    answer = ask([sys.executable, "-P", "-c", _ASK_CUDA], _IMPORT_TIMEOUT_S)
    if answer.trouble:
        return Finding(
            name=name,
            status="unknown",
            found=f"torch was asked in a process of its own: {answer.reason}",
            advice="run 'python -c \"import torch\"' and read what it prints",
        )
    match last_json(answer.output):
        case [True, int(count), str(built_for)] if count > 0:
            return Finding(name=name, status="ok", found=f"{count} cards, built for CUDA {built_for}")
        case [_, _, None]:
            found = "this torch is built without CUDA"
        case _:
            found = "torch sees no card"
    return Finding(
        name=name,
        status="problem",
        found=found,
        advice="install a torch for the driver's CUDA version (https://pytorch.org/get-started/locally/)",
    )
