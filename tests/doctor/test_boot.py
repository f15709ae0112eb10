"""How the answers of the boot program are judged. The program is a fake here, but for the last test."""

from __future__ import annotations

import json
from typing import Any

import pytest
from doctor_fakes import Answering, by_name, statuses

from pangu_verl.doctor import Finding, Target, boot
from pangu_verl.doctor.child import Answer
from pangu_verl.integrations.verl.boot_probe import MARK

READY = {"pangu_verl": "ready", "pangu_verl_cpu": "ready"}
PARTS: dict[str, Any] = {"driver": {"found": READY}, "features": {"found": []}, "worker": {"found": READY}}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VERL_PLATFORM", "VERL_USE_EXTERNAL_PLUGINS"):
        monkeypatch.delenv(name, raising=False)


def printed(parts: dict[str, Any]) -> str:
    lines = [MARK + json.dumps({"part": part, **entry}) for part, entry in parts.items()]
    return "noise of a library\n" + "\nmore noise\n".join(lines) + "\n"


def examine(answering: Answering, output: str, trouble: str = "", target: Target = "cpu") -> dict[str, Finding]:
    answering(boot, Answer(output, "", trouble))
    return by_name(boot.examine(target))


def test_plugins_that_boot_everywhere_are_ok(answering: Answering) -> None:
    found = examine(answering, printed(PARTS))
    assert statuses(found) == {"ok"}
    assert {"plugin pangu_verl in the driver", "plugin pangu_verl_cpu in a Ray worker", "features of verl"} <= set(
        found
    )


def test_the_error_that_verl_swallowed_is_shown(answering: Answering) -> None:
    worker = {"found": {**READY, "pangu_verl": "ImportError: no module 'x'"}}
    finding = examine(answering, printed({**PARTS, "worker": worker}))["plugin pangu_verl in a Ray worker"]
    assert finding.status == "problem"
    assert finding.found == "ImportError: no module 'x'"
    assert "verl itself is silent" in finding.advice


def test_a_plugin_that_verl_was_told_to_leave_out_names_the_variable(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERL_USE_EXTERNAL_PLUGINS", "none")
    driver = {"found": {"pangu_verl": "verl was told not to load it"}}
    finding = examine(answering, printed({**PARTS, "driver": driver}))["plugin pangu_verl in the driver"]
    assert "unset VERL_USE_EXTERNAL_PLUGINS (it is 'none')" in finding.advice


@pytest.mark.parametrize(("target", "status"), [("cpu", "problem"), ("cuda", "ok"), ("npu", "ok")])
def test_the_plugin_of_the_cpu_may_be_idle_elsewhere(answering: Answering, target: Target, status: str) -> None:
    parts = {**PARTS, "driver": {"found": {"pangu_verl": "ready", "pangu_verl_cpu": "inactive"}}}
    found = examine(answering, printed(parts), target=target)
    assert found["plugin pangu_verl_cpu in the driver"].status == status


def test_a_ray_that_does_not_start_is_a_problem(answering: Answering) -> None:
    found = examine(answering, printed({**PARTS, "worker": {"error": "ConnectionError: no port"}}))
    finding = found["plugins in a Ray worker"]
    assert finding.status == "problem"
    assert finding.found == "Ray does not start on this machine: ConnectionError: no port"


def test_a_verl_that_cannot_be_imported_is_a_problem(answering: Answering) -> None:
    found = examine(answering, printed({**PARTS, "driver": {"error": "RuntimeError: torch_npu"}}))
    assert found["plugins in the driver"].found == "verl cannot be imported: RuntimeError: torch_npu"


def test_what_verl_lacks_is_named(answering: Answering) -> None:
    found = examine(answering, printed({**PARTS, "features": {"found": ["verl.x.y"]}}))
    assert found["features of verl"].status == "problem"
    assert "verl.x.y" in found["features of verl"].found


def test_what_was_told_before_a_hang_still_counts(answering: Answering) -> None:
    found = examine(answering, printed({"driver": PARTS["driver"]}), trouble="no answer in 300 s")
    assert found["plugin pangu_verl in the driver"].status == "ok"
    for name in ("plugins in a Ray worker", "features of verl"):
        assert found[name].status == "unknown"
        assert "no answer in 300 s" in found[name].found


@pytest.mark.parametrize(
    "output",
    [
        "",
        MARK,
        f"{MARK}[]",
        f'{MARK}{{"part": 3}}',
        f'{MARK}{{"part": "driver", "found": []}}',
        f'{MARK}{{"part": "driver", "found": {{}}}}',
        f'{MARK}{{"part": "features", "found": "none"}}',
        "x" * 100_000,
    ],
)
def test_an_answer_that_is_not_as_agreed_is_unknown(answering: Answering, output: str) -> None:
    found = examine(answering, output)
    assert {found[name].status for name in ("plugins in the driver", "features of verl")} == {"unknown"}


@pytest.mark.parametrize(
    ("target", "platform", "status"),
    [
        ("cpu", "cpu", "ok"),
        ("npu", "cpu", "problem"),
        ("cuda", " NVIDIA ", "ok"),
        ("npu", "huawei", "ok"),
        ("cuda", "", "ok"),
    ],
)
def test_a_platform_that_contradicts_the_target_is_a_problem(
    answering: Answering, monkeypatch: pytest.MonkeyPatch, target: Target, platform: str, status: str
) -> None:
    monkeypatch.setenv("VERL_PLATFORM", platform)
    assert examine(answering, printed(PARTS), target=target)["VERL_PLATFORM"].status == status


@pytest.mark.slow
def test_in_this_environment_the_plugins_boot_in_a_driver_and_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    found = by_name(boot.examine("cpu"))
    assert statuses(found) == {"ok"}, found
    assert found["plugin pangu_verl_cpu in a Ray worker"].found == "ready"
