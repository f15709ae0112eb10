"""Whether our plugins boot: in a driver and in a worker of a new Ray, and whether verl has what we use of it.

The looking is done by a program of its own (``integrations/verl/boot_probe.py``); here its answers are judged.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pangu_verl.doctor.child import Answer, ask
from pangu_verl.doctor.findings import Finding
from pangu_verl.integrations.verl.boot_probe import MARK
from pangu_verl.integrations.verl.config_lint import Target

_TIMEOUT_S = 300.0
_PROCESSES = {"driver": "the driver", "worker": "a Ray worker"}
_PLATFORMS: dict[Target, str] = {"cpu": "cpu", "cuda": "nvidia", "npu": "huawei"}
_SWALLOWED = "verl 0.9.1, __init__.py:73"


def examine(target: Target) -> list[Finding]:
    """Boot the plugins as a run on ``target`` would; takes half a minute."""
    answer = ask([sys.executable, "-P", "-m", "pangu_verl.integrations.verl.boot_probe"], _TIMEOUT_S)
    parts = _parts(answer.output)
    findings = [_platform(target)]
    for part, process in _PROCESSES.items():
        findings += _boot(part, process, parts.get(part, {}), answer, target)
    return [*findings, _features(parts.get("features", {}), answer)]


def _parts(output: str) -> dict[str, dict[str, Any]]:
    """The marked lines by part; a line that is not as agreed is left out."""
    found = {}
    for line in output.splitlines():
        if line.startswith(MARK):
            try:
                entry = json.loads(line.removeprefix(MARK))
            except ValueError:
                continue
            if isinstance(entry, dict) and isinstance(entry.get("part"), str):
                found[entry["part"]] = entry
    return found


def _platform(target: Target) -> Finding:
    given, fitting = os.environ.get("VERL_PLATFORM", ""), _PLATFORMS[target]
    name = "VERL_PLATFORM"
    if given.strip().lower() in ("", fitting):
        return Finding(name=name, status="ok", found=given or "not set: verl looks for the device itself")
    return Finding(
        name=name,
        status="problem",
        found=f"VERL_PLATFORM={given} makes verl take the platform for another than {target}",
        advice=f"unset VERL_PLATFORM, or set it to {fitting}",
        source="verl 0.9.1, plugin/platform/platform_manager.py:92",
    )


def _boot(part: str, process: str, entry: dict[str, Any], answer: Answer, target: Target) -> list[Finding]:
    outcomes = entry.get("found")
    if isinstance(outcomes, dict) and outcomes:
        return [_plugin(str(plugin), process, str(outcome), target) for plugin, outcome in outcomes.items()]
    name = f"plugins in {process}"
    if "error" in entry:
        what = "Ray does not start on this machine" if part == "worker" else "verl cannot be imported"
        return [
            Finding(
                name=name,
                status="problem",
                found=f"{what}: {entry['error']}",
                advice="correct what the message names; 'python -c \"import verl, ray; ray.init()\"' shows all of it",
            )
        ]
    return [_not_looked_at(name, answer)]


def _plugin(plugin: str, process: str, outcome: str, target: Target) -> Finding:
    name = f"plugin {plugin} in {process}"
    idle = outcome == "inactive" and not (target == "cpu" and plugin == "pangu_verl_cpu")
    if outcome == "ready" or idle:
        return Finding(name=name, status="ok", found=outcome)
    if (policy := os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto")).strip().lower() not in ("", "auto"):
        advice = f"unset VERL_USE_EXTERNAL_PLUGINS (it is {policy!r}), or add {plugin} to it"
    elif outcome == "inactive":
        advice = "set VERL_PLATFORM=cpu, or let backend=cpu set it"
    else:
        advice = "correct what it says (verl itself is silent about it), or install pangu-verl anew in this environment"
    return Finding(name=name, status="problem", found=outcome, advice=advice, source=_SWALLOWED)


def _features(entry: dict[str, Any], answer: Answer) -> Finding:
    missing, name = entry.get("found"), "features of verl"
    if missing == []:
        return Finding(name=name, status="ok", found="all that pangu_verl uses")
    if isinstance(missing, list):
        return Finding(
            name=name,
            status="problem",
            found=f"the installed verl lacks {', '.join(map(str, missing))}",
            advice="install verl>=0.9.1,<0.10",
        )
    return _not_looked_at(name, answer, str(entry.get("error", "")))


def _not_looked_at(name: str, answer: Answer, error: str = "") -> Finding:
    return Finding(
        name=name,
        status="unknown",
        found=f"the program that looks gave no answer ({error or answer.reason or 'it printed something else'})",
        advice="run 'python -m pangu_verl.integrations.verl.boot_probe' and read what it prints",
    )
