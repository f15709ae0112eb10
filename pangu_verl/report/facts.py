"""What ``run.json`` says of a run, key by key.

Invariant: each fact is of its stated type or ``None``; a missing key and a key of the wrong type are alike unknown.
Paths and commands are shown, never followed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangu_verl.report.records import as_number, as_text

_LINE = 90
_RESPONSE_LIMIT = re.compile(r"^\+{0,2}data\.max_response_length=(\d{1,9})$")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineUse:
    """How the rollout engine spent its time."""

    busy_s: float | None
    idle_s: float | None
    generated_tokens: float | None

    @property
    def busy_share(self) -> float | None:
        if self.busy_s is None or self.idle_s is None or self.busy_s + self.idle_s <= 0:
            return None
        return self.busy_s / (self.busy_s + self.idle_s)

    @property
    def tokens_per_busy_second(self) -> float | None:
        if self.generated_tokens is None or not self.busy_s or self.busy_s < 0:
            return None
        return self.generated_tokens / self.busy_s


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """The contents of ``run.json``. ``memory_gib`` and ``processor`` are the machine's."""

    name: str | None
    status: str | None
    failure: str | None
    command: tuple[str, ...]
    model: str | None
    seed: str | None
    started_at: str | None
    total_seconds: float | None
    train_seconds: float | None
    commit: str | None
    versions: Mapping[str, str]
    processor: str | None
    cores: float | None
    memory_gib: float | None
    peak_pss_gib: float | None
    engine: EngineUse | None

    @property
    def response_limit_tokens(self) -> int | None:
        """The length at which a response is cut off, if the command names it. As in Hydra, the last override wins."""
        found = [match for part in self.command if (match := _RESPONSE_LIMIT.match(part))]
        return int(found[-1].group(1)) if found else None

    @property
    def shell_command(self) -> str:
        return _for_shell(self.command)

    def resume_hint(self, run_dir: Path) -> str | None:
        """The command that continues this run, ready for a shell; ``None`` if the command is unknown."""
        if not self.command:
            return None
        parts = list(self.command)
        if "--resume" not in parts:
            parts.append("--resume")
        if not any(part == "--run-dir" or part.startswith("--run-dir=") for part in parts):
            parts += ["--run-dir", str(run_dir)]
        return _for_shell(parts)


def parse_facts(found: Mapping[str, Any]) -> RunFacts:
    """Take what can be used of ``run.json`` (empty if there was none)."""
    command = found.get("command")
    machine = _mapping(found.get("machine"))
    versions = {str(name): as_text(version) or "unknown" for name, version in _mapping(found.get("versions")).items()}
    return RunFacts(
        name=as_text(found.get("name")),
        status=as_text(found.get("status")),
        failure=as_text(found.get("failure")),
        command=tuple(as_text(part) or "" for part in command) if isinstance(command, list) else (),
        model=as_text(found.get("model")),
        seed=as_text(found.get("seed")),
        started_at=as_text(found.get("started_at")),
        total_seconds=as_number(found.get("total_seconds")),
        train_seconds=as_number(found.get("train_seconds")),
        commit=as_text(found.get("commit")),
        versions=versions,
        processor=as_text(machine.get("processor")),
        cores=as_number(machine.get("cores")),
        memory_gib=as_number(machine.get("memory_gib")),
        peak_pss_gib=as_number(found.get("peak_pss_gib")),
        engine=_parse_engine(found.get("engine")),
    )


def _parse_engine(found: object) -> EngineUse | None:
    if not isinstance(found, dict):
        return None
    return EngineUse(
        busy_s=as_number(found.get("busy_s")),
        idle_s=as_number(found.get("idle_s")),
        generated_tokens=as_number(found.get("generated_tokens")),
    )


def _for_shell(parts: Sequence[str]) -> str:
    """Quoted for a shell; a long command gets a line for each part, so that none is out of sight."""
    line = shlex.join(parts)
    return line if len(line) <= _LINE else " \\\n  ".join(shlex.quote(part) for part in parts)


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}
