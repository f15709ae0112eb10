"""The whole examination. Its parts are fakes, but for the last test, which examines this machine."""

from __future__ import annotations

from typing import Any

import pytest
from doctor_fakes import by_name, statuses

from pangu_verl import doctor
from pangu_verl.doctor import Finding, Target, boot, describe, devices, examine, hooks, machine, sandbox, versions
from pangu_verl.integrations.verl import configuration
from pangu_verl.integrations.verl.config_lint import Trap

PARTS = (versions, boot, hooks, machine, devices, sandbox)
FINE = Finding(name="part", status="ok", found="fine")


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in PARTS:
        monkeypatch.setattr(part, "examine", lambda *_: [FINE])
    monkeypatch.setattr(doctor, "lint", lambda *_: [])


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What is asked of ``compose``, which composes nothing."""
    asked: list[tuple[str, list[str]]] = []

    def compose(config_name: str, overrides: list[str]) -> Any:
        asked.append((config_name, list(overrides)))
        return object()

    monkeypatch.setattr(configuration, "compose", compose)
    return asked


@pytest.mark.parametrize(("target", "backend"), [("cpu", "cpu"), ("cuda", "cuda"), ("npu", "npu_fsdp")])
def test_a_target_has_a_backend(composed: list[Any], target: Target, backend: str) -> None:
    assert statuses(by_name(examine(target, ["a=1"]))) == {"ok"}
    assert composed == [("ppo", ["a=1", f"backend={backend}"])]


def test_a_backend_that_is_named_stays(composed: list[Any]) -> None:
    assert statuses(by_name(examine("npu", ["backend=npu_megatron"], config_name="quickstart"))) == {"ok"}
    assert composed == [("quickstart", ["backend=npu_megatron"])]


def test_a_backend_of_other_hardware_is_a_problem(composed: list[Any]) -> None:
    finding = by_name(examine("cuda", ["backend=npu_fsdp"]))["configuration"]
    assert finding.status == "problem"
    assert "--target npu" in finding.advice


def test_the_backend_decides_which_versions_are_asked_for(composed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(versions, "examine", lambda *arguments: asked.append(arguments) or [])
    examine("npu", ["backend=npu_megatron"])
    assert asked == [("npu", "npu_megatron")]


@pytest.mark.parametrize(
    "override",
    ["reward_model.enable=true", "backend=tpu", "broken", "custom_reward_function.path=x.py"],
)
def test_a_configuration_that_does_not_compose_is_one_problem_among_the_findings(override: str) -> None:
    found = examine("cpu", [override])
    assert [finding.status for finding in found] == ["problem", *["ok"] * len(PARTS)]
    assert override.partition("=")[0].rpartition(".")[2] in found[0].found or "tpu" in found[0].found


def test_what_else_goes_wrong_in_composing_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def compose(*_: Any) -> Any:
        raise KeyError("strange")

    monkeypatch.setattr(configuration, "compose", compose)
    assert by_name(examine("cpu"))["configuration"].status == "unknown"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_fails_is_unknown_and_the_others_are_looked_at(
    composed: list[Any], monkeypatch: pytest.MonkeyPatch, part: Any
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("no such device")

    monkeypatch.setattr(part, "examine", fail)
    found = examine("cpu")
    failed = [finding for finding in found if finding.status == "unknown"]
    assert len(failed) == 1
    assert failed[0].found == "could not be looked at: OSError: no such device"
    assert len(found) == len(PARTS) + 2


def test_traps_are_findings(composed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    trap = Trap(name="key", status="warning", found="does nothing", advice="leave it out", source="verl 0.9.1, x.py:1")
    monkeypatch.setattr(doctor, "lint", lambda *_: [trap])
    expected = Finding(name="key", status="warning", found="does nothing", advice="leave it out", source=trap.source)
    assert examine("cpu")[-1] == expected


def test_a_lint_that_fails_is_unknown(composed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "lint", lambda *_: 1 / 0)
    assert by_name(examine("cpu"))["traps"].status == "unknown"


@pytest.mark.slow
def test_this_machine_is_fit_for_a_cpu_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = examine("cpu")
    wrong = [finding for finding in found if finding.status in ("problem", "unknown") and finding.name != "memory"]
    assert wrong == []
    assert "traps" in describe(found)
