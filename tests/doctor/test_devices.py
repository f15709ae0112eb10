"""Number formats of a CPU, NVIDIA's cards, the variables that hide cards. No card is needed: programs are fakes."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from doctor_fakes import FINE, Answering, Program, by_name, statuses

from pangu_verl.doctor import Finding, devices, visible
from pangu_verl.doctor.child import Answer

VARIABLES = ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES")
CARDS = "GPU 0: NVIDIA H100 (UUID: GPU-1)\nGPU 1: NVIDIA H100 (UUID: GPU-2)\n"


@pytest.fixture(autouse=True)
def without_torch_npu(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(devices, "version", version)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(f"RAY_EXPERIMENTAL_NOSET_{variable}", raising=False)


def examine(target: Any) -> dict[str, Finding]:
    return by_name(devices.examine(target))


# --- CPU -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("flags\t\t: fpu avx512_bf16 amx_bf16 amx_tile", "ok"),
        ("flags\t\t: fpu avx2", "warning"),
        ("Features\t: fp asimd bf16", "ok"),
        ("model name\t: amx_bf16 in a name", "warning"),
        ("", "warning"),
    ],
)
def test_a_processor_without_bfloat16_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, status: str
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\n{line}\n")
    monkeypatch.setattr(devices, "_CPUINFO", cpuinfo)
    found = examine("cpu")
    assert set(found) == {"bfloat16"}
    assert found["bfloat16"].status == status


def test_a_processor_that_cannot_be_looked_up_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "_CPUINFO", tmp_path / "missing")
    assert examine("cpu")["bfloat16"].status == "unknown"


# --- torch beside torch_npu ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["cpu", "cuda", "npu"])
def test_a_torch_that_torch_npu_breaks_is_a_problem_on_every_target(
    monkeypatch: pytest.MonkeyPatch, answering: Answering, target: str
) -> None:
    monkeypatch.setattr(devices, "version", lambda _: "2.10.0.post4")
    monkeypatch.setattr(devices.ascend, "examine", list)
    error = "RuntimeError: Failed to load the backend extension: torch_npu."
    answering(devices, Answer("", error, "ended with exit code 1"))
    finding = examine(target)["import torch"]
    assert finding.status == "problem"
    assert "Failed to load the backend extension" in finding.found
    assert "TORCH_DEVICE_BACKEND_AUTOLOAD=0" in finding.advice


def test_a_torch_that_loads_beside_torch_npu_is_ok(monkeypatch: pytest.MonkeyPatch, answering: Answering) -> None:
    monkeypatch.setattr(devices, "version", lambda _: "2.10.0.post4")
    answering(devices, FINE)
    assert examine("cpu")["import torch"].status == "ok"


# --- NVIDIA ----------------------------------------------------------------------------------------------------------


def test_cards_that_answer_are_counted(answering: Answering, program: Program) -> None:
    answering(devices, Answer(CARDS, "", ""))
    assert examine("cuda")["nvidia-smi"].found == "2 cards"


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices found.'", "echo failed >&2; exit 255"])
def test_a_driver_without_cards_is_a_problem(program: Program, script: str) -> None:
    program("nvidia-smi", script)
    assert devices._nvidia_smi().status == "problem"


def test_a_machine_without_nvidias_driver_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = devices._nvidia_smi()
    assert finding.status == "problem"
    assert "cannot be started" in finding.found


@pytest.mark.parametrize(
    ("printed", "status", "found"),
    [
        ('[true, 2, "13.0"]', "ok", "2 cards, built for CUDA 13.0"),
        ("[false, 0, null]", "problem", "this torch is built without CUDA"),
        ('[false, 0, "13.0"]', "problem", "torch sees no card"),
        ('[true, 0, "13.0"]', "problem", "torch sees no card"),
        ('{"is": "odd"}', "problem", "torch sees no card"),
        ("", "problem", "torch sees no card"),
    ],
)
def test_what_torch_sees_of_cuda_is_told(answering: Answering, printed: str, status: str, found: str) -> None:
    answering(devices, Answer(f"noise\n{printed}\n", "", ""))
    finding = devices._torch_cuda()
    assert (finding.status, finding.found) == (status, found)


def test_a_torch_that_crashes_is_unknown(answering: Answering) -> None:
    answering(devices, Answer("", "", "died of signal 11"))
    finding = devices._torch_cuda()
    assert finding.status == "unknown"
    assert "died of signal 11" in finding.found


# --- visible cards ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, "ok"),
        ("0", "ok"),
        ("0,1,2,3", "ok"),
        (" 0, 1", "ok"),
        ("4,5,6,7", "ok"),
        ("", "problem"),
        ("-1", "problem"),
        ("0,0", "problem"),
        ("0,,1", "problem"),
        ("all", "problem"),
        ("0;1", "problem"),
    ],
)
def test_a_list_of_cards_is_judged(
    monkeypatch: pytest.MonkeyPatch, variable: visible.Variable, given: str | None, status: str
) -> None:
    if given is not None:
        monkeypatch.setenv(variable, given)
    assert visible.examine(variable).status == status


def test_nvidias_cards_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "GPU-1a2b,MIG-3c4d")
    assert visible.examine("CUDA_VISIBLE_DEVICES").status == "ok"
    assert visible.examine("ASCEND_RT_VISIBLE_DEVICES").status == "problem"


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize(("given", "status"), [("0,1", "ok"), ("4,5", "problem"), ("1,0", "problem"), ("0", "ok")])
def test_cards_that_verl_would_take_for_others_are_a_problem(
    monkeypatch: pytest.MonkeyPatch, variable: visible.Variable, given: str, status: str
) -> None:
    monkeypatch.setenv(variable, given)
    monkeypatch.setenv(f"RAY_EXPERIMENTAL_NOSET_{variable}", "1")
    finding = visible.examine(variable)
    assert finding.status == status
    if status == "problem":
        assert finding.source == "https://github.com/verl-project/verl/pull/7507"


def test_cuda_is_examined_whole(answering: Answering) -> None:
    answering(devices, Answer(CARDS, "", ""))
    found = examine("cuda")
    assert set(found) == {"nvidia-smi", "torch.cuda", "CUDA_VISIBLE_DEVICES"}
    assert "unknown" not in statuses(found)
