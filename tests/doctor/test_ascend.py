"""NPUs. Everything is a fake: a script called npu-smi on PATH, a folder laid out as CANN's, answers of torch_npu."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest
from doctor_fakes import Answering, Program, by_name, statuses

from pangu_verl.doctor import Finding, ascend
from pangu_verl.doctor.child import Answer

NPU_SMI = """
case "$*" in
  info) echo "| npu-smi 26.0.rc1   Version: 26.0.rc1 |" ;;
  "info -t board -i {card}") printf '\\tNPU ID : {card}\\n\\tSoftware Version               : {version}\\n' ;;
  *) echo "This device is not existed." >&2; exit 1 ;;
esac
"""
VARIABLES = (
    "ASCEND_HOME_PATH",
    "ASCEND_TOOLKIT_HOME",
    "ASCEND_VISIBLE_DEVICES",
    "ASCEND_RT_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
)
#: Makes a folder as CANN's of a version.
Cann = Callable[..., Path]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ascend, "_USUAL_HOME", str(tmp_path / "nowhere"))


@pytest.fixture
def cann(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cann:
    def make(version: str = "9.1.0") -> Path:
        home = tmp_path / "ascend-toolkit" / "latest"
        (home / "lib64").mkdir(parents=True)
        (home / "lib64" / "libhccl.so").write_bytes(b"")
        (home / "version.cfg").write_text(
            f"# version: 1.0\nruntime_running_version=[7.9.0.1:{version}]\ntoolkit_running_version=[7.9.0.1:{version}]\n"
        )
        info = home / f"{platform.machine()}-linux"
        info.mkdir()
        (info / "ascend_toolkit_install.info").write_text(f"package_name=Ascend-cann-toolkit\nversion={version}\n")
        monkeypatch.setenv("ASCEND_HOME_PATH", str(home))
        return home

    return make


@pytest.fixture
def npu_smi(program: Program) -> Callable[..., None]:
    def make(version: str = "26.0.rc1", card: int = 1) -> None:
        program("npu-smi", NPU_SMI.format(version=version, card=card))

    return make


@pytest.fixture
def torch_npu(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Answer the question to torch_npu; the others go to the programs on PATH."""
    asked = ascend.ask

    def replace(answer: Answer) -> None:
        monkeypatch.setattr(
            ascend, "ask", lambda command, timeout_s: answer if "-c" in command else asked(command, timeout_s)
        )

    return replace


def found_with(torch_npu: Callable[[Answer], None], answer: Answer | None = None) -> dict[str, Finding]:
    torch_npu(answer or Answer("\n[true, 8]\n", "", ""))
    return by_name(ascend.examine())


def test_a_whole_installation_is_ok(
    cann: Cann, npu_smi: Callable[..., None], torch_npu: Callable[[Answer], None]
) -> None:
    cann()
    npu_smi()
    found = found_with(torch_npu)
    assert statuses(found) == {"ok"}, found
    assert found["torch_npu"].found == "8 NPUs"
    assert found["npu-smi"].found == "driver 26.0.rc1"


def test_a_machine_without_any_of_it_gets_findings_and_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, torch_npu: Callable[[Answer], None]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = found_with(
        torch_npu, Answer("", "ModuleNotFoundError: No module named 'torch_npu'", "ended with exit code 1")
    )
    for name in ("CANN", "npu-smi", "HCCL", "torch_npu"):
        assert found[name].status == "problem", name
    assert found["NPU memory between processes"].status == "unknown"


# --- CANN ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("9.1.0", "ok"),
        ("9.1.RC1", "ok"),
        ("8.5.1", "warning"),
        ("9.2.0", "warning"),
        ("8.3.RC1", "warning"),
        ("odd", "unknown"),
    ],
)
def test_a_cann_that_upstream_does_not_test_is_a_warning(cann: Cann, version: str, status: str) -> None:
    home = cann(version)
    assert ascend._cann(home, ascend._cann_version(home)).status == status


def test_the_version_is_read_from_either_file(cann: Cann) -> None:
    home = cann("9.1.0")
    (home / "version.cfg").unlink()
    assert ascend._cann_version(home) == "9.1.0"
    (home / f"{platform.machine()}-linux" / "ascend_toolkit_install.info").unlink()
    assert ascend._cann_version(home) is None


def test_a_version_file_that_is_no_text_is_unknown(cann: Cann) -> None:
    home = cann()
    for file in (home / "version.cfg", home / f"{platform.machine()}-linux" / "ascend_toolkit_install.info"):
        file.write_bytes(b"\xff\xfe\x00version")
    assert ascend._cann(home, ascend._cann_version(home)).status == "unknown"


def test_a_cann_that_is_not_sourced_is_a_problem(cann: Cann, monkeypatch: pytest.MonkeyPatch) -> None:
    home = cann()
    monkeypatch.delenv("ASCEND_HOME_PATH")
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(home))
    finding = ascend._cann(ascend._home(), "9.1.0")
    assert finding.status == "problem"
    assert "ASCEND_HOME_PATH is not set" in finding.found


def test_the_file_that_verl_reads_is_missed_by_name(cann: Cann) -> None:
    home = cann()
    (home / f"{platform.machine()}-linux" / "ascend_toolkit_install.info").unlink()
    finding = ascend._install_file(home)
    assert finding.status == "problem"
    assert "ascend_toolkit_install.info" in finding.found


# --- driver ----------------------------------------------------------------------------------------------------------


def test_a_machine_whose_only_card_is_not_card_1_is_a_problem(npu_smi: Callable[..., None]) -> None:
    npu_smi(card=0)
    version, finding = ascend._driver()
    assert version is None and finding.status == "problem"
    assert finding.source == "https://github.com/verl-project/verl/issues/6756"


@pytest.mark.parametrize(("card", "visible"), [(5, "5,6"), (3, "6,7")])
def test_the_card_is_found_by_the_variable_as_verl_finds_it(
    npu_smi: Callable[..., None], monkeypatch: pytest.MonkeyPatch, card: int, visible: str
) -> None:
    npu_smi(card=card)
    monkeypatch.setenv("ASCEND_VISIBLE_DEVICES", visible)
    assert ascend._driver()[0] == "26.0.rc1"


@pytest.mark.parametrize("script", ["exit 1", "echo dcmi >&2; exit 255", 'test "$2" = "" && echo fine; exit 0'])
def test_a_driver_that_does_not_tell_its_version_is_a_problem(program: Program, script: str) -> None:
    program("npu-smi", script)
    version, finding = ascend._driver()
    assert version is None and finding.status == "problem"


@pytest.mark.parametrize(
    ("driver", "cann_version", "status"),
    [
        ("26.0.rc1", "9.1.0", "ok"),
        ("25.3.rc1.2", "8.3.RC1", "ok"),
        ("25.5.t3.b001", "8.5.1", "ok"),
        ("25.2.0", "9.1.0", "warning"),
        ("26.0.rc1", "8.2.RC1", "warning"),
        ("odd", "9.1.0", "unknown"),
        (None, "9.1.0", "unknown"),
        ("26.0.rc1", None, "unknown"),
    ],
)
def test_memory_is_shared_from_some_versions_on(driver: str | None, cann_version: str | None, status: str) -> None:
    assert ascend._sharing(driver, cann_version).status == status


# --- HCCL and torch_npu ----------------------------------------------------------------------------------------------


def test_hccl_may_lie_on_the_library_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libhccl.so").write_bytes(b"")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/no/such::{tmp_path}")
    assert ascend._hccl(tmp_path / "nowhere").status == "ok"


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        (Answer("\n[true, 8]\n", "", ""), "ok", "8 NPUs"),
        (Answer("\n[false, 0]\n", "", ""), "problem", "sees no NPU"),
        (Answer("\n[true, 0]\n", "", ""), "problem", "sees no NPU"),
        (Answer('{"count": 8}', "", ""), "problem", "sees no NPU"),
        (Answer("", "", ""), "problem", "sees no NPU"),
        (
            Answer("", "ImportError: libhccl.so: cannot open shared object file", "ended with exit code 1"),
            "problem",
            "libhccl",
        ),
        (Answer("", "", "died of signal 11"), "problem", "died of signal 11"),
        (Answer("", "", "no answer in 180 s"), "problem", "no answer in 180 s"),
    ],
)
def test_what_torch_npu_answers_is_judged(answering: Answering, answer: Answer, status: str, told: str) -> None:
    answering(ascend, answer)
    finding = ascend._torch_npu()
    assert finding.status == status
    assert told in finding.found
