"""Versions against the set that a target supports: one table, each line with where it comes from.

Invariant: versions are read from the metadata of installed distributions. Nothing is imported to find one, because
torch_npu and vllm may end the process that imports them. What lies outside ``wanted`` is a problem; what lies inside
and outside ``tested``, the set that upstream tests together, is a warning.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from pangu_verl.doctor.child import ask
from pangu_verl.doctor.findings import Finding, Status
from pangu_verl.integrations.verl.config_lint import Target

_OURS = "pyproject.toml of pangu-verl"
_VERL = "metadata of verl 0.9.1"
_VERL_EXTRAS = "extras vllm, fsdp and megatron in the metadata of verl 0.9.1"
_ASCEND = "https://github.com/verl-project/verl/blob/main/docs/ascend_tutorial/get_start/install_guidance.rst"
_IMPORT_TIMEOUT_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """A distribution and its versions, as specifiers; empty: any. ``missing``: what its absence is."""

    distribution: str
    wanted: str = ""
    tested: str = ""
    source: str
    missing: Status = "problem"
    #: Where a checkout on PYTHONPATH, without metadata, would be importable from.
    module: str = ""
    #: What is worth knowing even if the version fits.
    note: str = ""


_COMMON = (
    Requirement(distribution="verl", wanted=">=0.9.1,<0.10", source=_OURS),
    Requirement(distribution="TransferQueue", wanted=">=0.1.10,<0.2", source=_OURS),
    Requirement(distribution="tensordict", wanted=">=0.8.0,<=0.10.0,!=0.9.0", source=_VERL),
    Requirement(distribution="ray", wanted=">=2.41.0", source=_VERL),
)
_NUMPY = Requirement(distribution="numpy", wanted=">=2.0.0", source=_VERL)
_TRANSFORMERS = ">=5.5.3,<5.11,!=5.6.0"

#: What each target needs beside ``_COMMON``.
MATRIX: dict[Target, tuple[Requirement, ...]] = {
    "cpu": (
        Requirement(distribution="torch", wanted=">=2.10", source=_OURS),
        Requirement(distribution="transformers", wanted=_TRANSFORMERS, source=_VERL),
        _NUMPY,
        Requirement(distribution="pangu-verl-cpu", source=_OURS),
    ),
    "cuda": (
        Requirement(distribution="torch", wanted=">=2.10", tested="==2.11.0", source=_VERL_EXTRAS),
        Requirement(distribution="transformers", wanted=_TRANSFORMERS, tested="==5.9.0", source=_VERL_EXTRAS),
        _NUMPY,
        Requirement(distribution="vllm", wanted=">=0.18.0", tested="==0.24.0", source=_VERL_EXTRAS),
        Requirement(
            distribution="cupy-cuda13x",
            tested="==14.0.1",
            source="https://github.com/verl-project/verl/issues/5684",
            module="cupy",
            note="checkpoint engine nccl needs it",
        ),
        Requirement(
            distribution="flash-attn",
            tested="==2.8.3",
            source=_VERL_EXTRAS,
            missing="warning",
            note="verl's attention unless model.override_config.attn_implementation names another",
        ),
    ),
    "npu": (
        Requirement(distribution="torch", wanted="==2.10.*", tested="==2.10.0", source=_ASCEND),
        Requirement(distribution="torch-npu", wanted="==2.10.*", tested="==2.10.0.post4", source=_ASCEND),
        Requirement(distribution="triton-ascend", tested="==3.2.2", source=_ASCEND),
        Requirement(
            distribution="transformers",
            wanted=_TRANSFORMERS,
            tested="==5.10.4",
            source=_ASCEND,
            note="the metadata of vllm-ascend 0.23.0 asks for 5.5.4: install it before transformers",
        ),
        Requirement(
            distribution="numpy",
            source="https://github.com/verl-project/verl/blob/main/requirements-npu.txt",
            note="verl's requirements-npu.txt asks for <2.0.0 and its wheel for >=2.0.0",
        ),
        Requirement(distribution="vllm", wanted=">=0.18.0", tested="==0.23.*", source=_ASCEND),
        Requirement(distribution="vllm-ascend", wanted=">=0.18.0", tested="==0.23.*", source=_ASCEND),
    ),
}
#: What a backend with Megatron needs on top.
MEGATRON: dict[Target, tuple[Requirement, ...]] = {
    "cpu": (),
    "cuda": (
        Requirement(distribution="megatron-core", source=_VERL_EXTRAS, module="megatron"),
        Requirement(distribution="megatron-bridge", tested="==0.5.2", source=_VERL_EXTRAS),
    ),
    "npu": (
        Requirement(distribution="megatron-core", tested="==0.16.*", source=_ASCEND, module="megatron"),
        Requirement(
            distribution="mindspeed",
            source=_ASCEND,
            module="mindspeed",
            note="branch core_r0.16.0; without it verl goes on unpatched and says nothing",
        ),
    ),
}


def examine(target: Target, backend: str) -> list[Finding]:
    """Python and every distribution that ``target`` needs."""
    needed = [*_COMMON, *MATRIX[target], *(MEGATRON[target] if backend.endswith("_megatron") else ())]
    findings = [_python(), *(_distribution(requirement) for requirement in needed)]
    if target == "cpu":
        findings += _torchvision()
    return findings


def _python() -> Finding:
    wanted = Requirement(distribution="Python", wanted=">=3.11,<3.13", source=_OURS)
    return _judged(wanted, platform.python_version())


def _distribution(requirement: Requirement) -> Finding:
    found = _installed(requirement.distribution)
    return _absent(requirement) if found is None else _judged(requirement, found)


def _installed(distribution: str) -> str | None:
    """The version in the metadata; "" where the metadata has none."""
    try:
        return version(distribution) or ""
    except PackageNotFoundError:
        return None


def _judged(requirement: Requirement, found: str) -> Finding:
    name, source = requirement.distribution, requirement.source
    shown = f"{found} ({requirement.note})" if requirement.note else found
    try:
        parsed = Version(found)
    except InvalidVersion:
        shown = f"version {found!r}, which cannot be compared"
        return Finding(name=name, status="unknown", found=shown, advice=_install(requirement), source=source)
    status: Status = "ok"
    if not SpecifierSet(requirement.tested).contains(parsed, prereleases=True):
        status, shown = "warning", f"{shown}; upstream tests {requirement.tested.lstrip('=')}"
    if not SpecifierSet(requirement.wanted).contains(parsed, prereleases=True):
        status, shown = "problem", f"{found}, wanted {requirement.wanted}"
    advice = "" if status == "ok" else _install(requirement)
    return Finding(name=name, status=status, found=shown, advice=advice, source=source)


def _absent(requirement: Requirement) -> Finding:
    name, source = requirement.distribution, requirement.source
    if requirement.module and importlib.util.find_spec(requirement.module) is not None:
        return Finding(
            name=name,
            status="unknown",
            found=f"module {requirement.module} is there without metadata of {name}, so its version cannot be told",
            advice=f"make sure that it is {requirement.tested.lstrip('=') or 'the one that the source names'}",
            source=source,
        )
    found = f"not installed ({requirement.note})" if requirement.note else "not installed"
    return Finding(name=name, status=requirement.missing, found=found, advice=_install(requirement), source=source)


def _install(requirement: Requirement) -> str:
    if requirement.distribution == "Python":
        return f"make an environment with Python {requirement.wanted}"
    return f"install {requirement.distribution}{requirement.tested or requirement.wanted}"


def _torchvision() -> Sequence[Finding]:
    """PyPI's torchvision is built for CUDA; beside a torch for CPUs it breaks what imports it."""
    found, torch = _installed("torchvision"), _installed("torch")
    if found is None or torch is None or "cpu" not in torch.partition("+")[2]:
        return []
    answer = ask([sys.executable, "-P", "-c", "import torchvision"], _IMPORT_TIMEOUT_S)
    if not answer.trouble:
        return [Finding(name="torchvision", status="ok", found=f"{found} beside torch {torch}")]
    return [
        Finding(
            name="torchvision",
            status="problem",
            found=f"{found} cannot be imported beside torch {torch} ({answer.reason}), and transformers then says that "
            "it cannot import a model",
            advice="uninstall torchvision (text models do not need it), or install the build for CPUs",
            source="https://github.com/huggingface/transformers/issues/38065",
        )
    ]
