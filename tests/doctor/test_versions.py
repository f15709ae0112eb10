"""Installed distributions against the matrix. Nothing is installed for it: metadata and imports are fakes."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from typing import Any, get_args

import pytest
from doctor_fakes import FINE, Answering, by_name, statuses
from packaging.specifiers import SpecifierSet

from pangu_verl.doctor import Finding, Target, versions
from pangu_verl.doctor.child import Answer

CPU = {
    "verl": "0.9.1",
    "TransferQueue": "0.1.11",
    "tensordict": "0.10.0",
    "ray": "2.60.0",
    "torch": "2.13.0+cpu",
    "transformers": "5.9.0",
    "numpy": "2.4.6",
    "pangu-verl-cpu": "0.1.0",
}
CUDA = {**CPU, "torch": "2.11.0", "vllm": "0.24.0", "cupy-cuda13x": "14.0.1", "flash-attn": "2.8.3"}
NPU = {
    **CPU,
    "torch": "2.10.0+cpu",
    "torch-npu": "2.10.0.post4",
    "triton-ascend": "3.2.2",
    "transformers": "5.10.4",
    "numpy": "1.26.4",
    "vllm": "0.23.0+empty",
    "vllm-ascend": "0.23.0",
}
TESTED: dict[str, dict[str, str]] = {"cpu": CPU, "cuda": CUDA, "npu": NPU}
MEGATRON = {"megatron-core": "0.16.1", "mindspeed": "0.16.0", "megatron-bridge": "0.5.2"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The versions in the environment's metadata, to be filled in by a test."""
    found: dict[str, Any] = {}

    def version(distribution: str) -> Any:
        if distribution not in found:
            raise PackageNotFoundError(distribution)
        return found[distribution]

    monkeypatch.setattr(versions, "version", version)
    monkeypatch.setattr(versions.importlib.util, "find_spec", lambda _: None)
    return found


def examine(target: Any = "cpu", backend: str = "cpu") -> dict[str, Finding]:
    return by_name(versions.examine(target, backend))


@pytest.mark.parametrize("target", get_args(Target))
def test_the_tested_set_of_a_target_is_ok(installed: dict[str, Any], target: str) -> None:
    installed.update(TESTED[target])
    assert statuses(examine(target, target)) == {"ok"}


@pytest.mark.parametrize("target", ["cuda", "npu"])
def test_the_tested_set_with_megatron_is_ok(installed: dict[str, Any], target: str) -> None:
    installed.update(TESTED[target], **MEGATRON)
    found = examine(target, f"{target}_megatron")
    assert statuses(found) == {"ok"}
    assert "megatron-core" in found


def test_megatron_is_asked_for_only_with_a_megatron_backend(installed: dict[str, Any]) -> None:
    installed.update(NPU)
    assert "mindspeed" not in examine("npu", "npu_fsdp")
    assert examine("npu", "npu_megatron")["mindspeed"].status == "problem"


@pytest.mark.parametrize(
    ("distribution", "version"),
    [
        ("verl", "0.9.0"),
        ("verl", "0.10.0rc1"),
        ("torch", "2.9.1"),
        ("transformers", "5.6.0"),
        ("transformers", "5.11.0"),
        ("TransferQueue", "0.1.9"),
        ("tensordict", "0.11.0"),
        ("tensordict", "0.9.0"),
        ("numpy", "1.26.4"),
        ("ray", "2.40.0"),
    ],
)
def test_a_version_out_of_range_is_a_problem_that_names_the_range(
    installed: dict[str, Any], distribution: str, version: str
) -> None:
    installed.update(CPU, **{distribution: version})
    finding = examine()[distribution]
    assert finding.status == "problem"
    assert finding.found.startswith(f"{version}, wanted ")
    assert finding.advice.startswith(f"install {distribution}")
    assert finding.source


@pytest.mark.parametrize("distribution", list(CPU))
def test_what_is_not_installed_is_a_problem(installed: dict[str, Any], distribution: str) -> None:
    installed.update({name: version for name, version in CPU.items() if name != distribution})
    finding = examine()[distribution]
    assert (finding.status, finding.found) == ("problem", "not installed")


@pytest.mark.parametrize(
    ("target", "distribution", "version"),
    [
        ("cuda", "torch", "2.13.0"),
        ("cuda", "vllm", "0.25.0"),
        ("npu", "torch-npu", "2.10.0"),
        ("npu", "transformers", "5.5.4"),
        ("npu", "vllm-ascend", "0.24.0rc1"),
        ("npu", "triton-ascend", "3.2.0"),
    ],
)
def test_a_version_that_upstream_does_not_test_is_a_warning(
    installed: dict[str, Any], target: str, distribution: str, version: str
) -> None:
    installed.update(TESTED[target], **{distribution: version})
    finding = examine(target, target)[distribution]
    assert finding.status == "warning"
    assert "upstream tests" in finding.found


def test_the_conflict_over_transformers_on_npus_is_told_even_when_the_version_fits(installed: dict[str, Any]) -> None:
    installed.update(NPU)
    finding = examine("npu", "npu_fsdp")["transformers"]
    assert finding.status == "ok" and "vllm-ascend 0.23.0 asks for 5.5.4" in finding.found


@pytest.mark.parametrize("version", ["main", "", None])
def test_a_version_that_cannot_be_compared_is_unknown(installed: dict[str, Any], version: str | None) -> None:
    installed.update(CPU, verl=version)
    assert examine()["verl"].status == "unknown"


def test_a_checkout_without_metadata_is_unknown(installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    installed.update(NPU)
    monkeypatch.setattr(versions.importlib.util, "find_spec", lambda name: object() if name == "megatron" else None)
    found = examine("npu", "npu_megatron")
    assert found["megatron-core"].status == "unknown"
    assert found["mindspeed"].status == "problem"


def test_this_python_is_supported(installed: dict[str, Any]) -> None:
    installed.update(CPU)
    assert examine()["Python"].status == "ok"


@pytest.mark.parametrize("version", ["3.10.14", "3.13.0"])
def test_another_python_is_a_problem(installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(versions.platform, "python_version", lambda: version)
    installed.update(CPU)
    assert examine()["Python"].status == "problem"


def test_every_line_of_the_matrix_is_sound_and_says_where_it_comes_from() -> None:
    lines = [
        *versions._COMMON,
        *(line for table in (versions.MATRIX, versions.MEGATRON) for row in table.values() for line in row),
    ]
    for line in lines:
        assert line.source
        SpecifierSet(line.wanted)
        SpecifierSet(line.tested)


# --- torchvision -----------------------------------------------------------------------------------------------------


def test_a_torchvision_that_does_not_load_beside_a_torch_for_cpus_is_a_problem(
    installed: dict[str, Any], answering: Answering
) -> None:
    installed.update(CPU, torchvision="0.28.0")
    error = "RuntimeError: operator torchvision::nms does not exist"
    answering(versions, Answer("", f"Traceback\n{error}\n", "ended with exit code 1"))
    finding = examine()["torchvision"]
    assert finding.status == "problem"
    assert error in finding.found and "uninstall torchvision" in finding.advice


def test_a_torchvision_that_loads_is_ok(installed: dict[str, Any], answering: Answering) -> None:
    installed.update(CPU, torchvision="0.28.0+cpu")
    answering(versions, FINE)
    assert examine()["torchvision"].status == "ok"


@pytest.mark.parametrize("torch", ["2.13.0", "2.13.0+cu130"])
def test_torchvision_is_not_imported_beside_another_torch(
    installed: dict[str, Any], answering: Answering, torch: str
) -> None:
    installed.update(CPU, torchvision="0.28.0", torch=torch)
    asked = answering(versions, FINE)
    assert "torchvision" not in examine()
    assert asked == []
