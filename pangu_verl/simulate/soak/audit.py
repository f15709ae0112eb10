"""The auditor of a soak: goes through what the worker's lives left on disk and says what does not hold.

It shares no code with scheduler, ledger or worker: it reads lines of JSON and tables of SQLite, and counts again by
itself. Invariants: every token that any life trained on is held against the bound, also those of steps that a
resumption took back; lost prompts and prompts trained twice are those of the *lineage*, the steps that the last weights
contain. Prompt number r (from 0) has the key ``p<r>``.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

#: As the ledger's schema numbers its states.
_WAITING, _READY, _CONSUMED, _ABANDONED = 0, 2, 3, 4


class Breach(StrEnum):
    """What a soak holds the scheduler and the queue to, by what goes against it."""

    OVER_BOUND = "tokens_over_bound"
    LOST = "lost_prompts"
    TWICE = "prompts_trained_twice"
    DISAGREEMENT = "disagreements"


@dataclass(slots=True)
class Findings:
    """``breaches`` counts tokens, prompts or sentences; ``first`` says the first of them. The rest are figures."""

    breaches: Counter[Breach] = field(default_factory=Counter)
    first: str | None = None
    trained_tokens_by_lag: Counter[int] = field(default_factory=Counter)
    masked_tokens: int = 0
    #: Sums over lives: what their resumptions reported, what they counted while they ran.
    resumptions: int = 0
    of_resumptions: Counter[str] = field(default_factory=Counter)
    of_lives: Counter[str] = field(default_factory=Counter)
    taken_back_groups: int = 0
    trained_groups: int = 0
    live_groups: int = 0
    abandoned_groups: int = 0

    def add(self, breach: Breach, amount: int, sentence: str) -> None:
        if amount:
            self.breaches[breach] += amount
            self.first = self.first or sentence


class _Step(NamedTuple):
    step: int
    version: int
    keys: list[str]


class Auditor:
    """Reads lives in their order as they end, and the final state once the last one has."""

    def __init__(self, *, bound_versions: int, batch_groups: int, trajectories: int) -> None:
        self.findings = Findings()
        self._bound = bound_versions
        self._batch_groups = batch_groups
        self._trajectories = trajectories
        self._lineage: list[_Step] = []
        self._version = 0

    def read_life(self, path: Path) -> None:
        """What a life wrote. One that was killed may have torn its last line, or written nothing."""
        counts: dict[str, int] = {}
        for line in _whole_lines(path):
            if "began" in line:
                self._go_back(line["began"], path)
            elif "published" in line:
                self._publish(line["published"], path)
            else:
                self._train(line, path)
                counts = line["counts"]
        self.findings.of_lives.update(counts)
        self.findings.trained_groups = sum(len(step.keys) for step in self._lineage)

    def read_end(self, ledger: Path, checkpoints: Path) -> None:
        """Every prompt that the loader gave out is trained on, live or abandoned, and the ledger says the same."""
        findings = self.findings
        position = json.loads((max(checkpoints.glob("step-*[0-9]")) / "rest.json").read_text())["loader_position"]
        given_out = {f"p{row}" for row in range(position)}
        trained = {key: step.step for step in self._lineage for key in step.keys}
        live, abandoned, consumed = _ledger_says(ledger)
        findings.live_groups, findings.abandoned_groups = len(live), len(abandoned)
        self._check_once()
        lost = given_out - trained.keys() - live - abandoned
        findings.add(Breach.LOST, len(lost), f"{_some(lost)} given out by the loader, but neither trained on nor live")
        unknown = (trained.keys() | live | abandoned) - given_out
        findings.add(Breach.DISAGREEMENT, len(unknown), f"{_some(unknown)} known, but not given out by the loader")
        again = trained.keys() & (live | abandoned)
        findings.add(Breach.TWICE, len(again), f"{_some(again)} trained on and still open in the ledger")
        differing = {key for key, step in trained.items() if key not in again and consumed.get(key) != step}
        findings.add(Breach.DISAGREEMENT, len(differing), f"{_some(differing)} consumed at another step in the ledger")

    def _go_back(self, began: dict[str, Any], path: Path) -> None:
        step, version, resumption = began["step"], began["version"], began["resumption"]
        if step >= len(self._lineage) or version > self._version:
            self._disagree(
                path.name, f"goes on from step {step} and version {version}, which no life before it reached"
            )
        self.findings.taken_back_groups += sum(len(back.keys) for back in self._lineage[step + 1 :])
        del self._lineage[step + 1 :]
        last_version = self._lineage[-1].version if self._lineage else 0
        if not last_version <= version <= last_version + 1:
            self._disagree(path.name, f"goes on at version {version} after a step at version {last_version}")
        self._version = version
        if resumption is not None:
            self.findings.resumptions += 1
            self.findings.of_resumptions.update(resumption)

    def _publish(self, version: int, path: Path) -> None:
        self._version += 1
        if version != self._version:
            self._disagree(path.name, f"publishes version {version} where {self._version} follows")

    def _train(self, line: dict[str, Any], path: Path) -> None:
        step, version, groups = line["step"], line["version"], line["groups"]
        if step != len(self._lineage) or version != self._version:
            self._disagree(
                path.name,
                f"has step {step} at version {version} where step {len(self._lineage)} at {self._version} follows",
            )
        if len(groups) != self._batch_groups:
            self._disagree(path.name, f"step {step} has {len(groups)} groups, not {self._batch_groups}")
        for key, trajectories in groups:
            if len(trajectories) != self._trajectories:
                self._disagree(
                    path.name, f"group {key!r} has {len(trajectories)} trajectories, not {self._trajectories}"
                )
            for member, (masked, segments) in enumerate(trajectories):
                self._check_tokens(f"step {step}, group {key!r}, trajectory {member}", masked, segments)
        self._lineage.append(_Step(step, self._version, [key for key, _ in groups]))

    def _check_tokens(self, where: str, masked: int, segments: Sequence[tuple[int, int]]) -> None:
        findings = self.findings
        findings.masked_tokens += masked
        for version, tokens in segments:
            left_out = min(masked, tokens)
            masked -= left_out
            lag = self._version - version
            findings.trained_tokens_by_lag[lag] += tokens - left_out
            if lag < 0:
                self._disagree(where, f"has tokens of version {version} at version {self._version}")
            if lag > self._bound:
                findings.add(
                    Breach.OVER_BOUND,
                    tokens - left_out,
                    f"{where}: {tokens - left_out} tokens of version {version} trained on at version {self._version}, "
                    f"over the bound of {self._bound}",
                )

    def _check_once(self) -> None:
        steps_of: dict[str, int] = {}
        for step in self._lineage:
            for key in step.keys:
                if key in steps_of:
                    self.findings.add(
                        Breach.TWICE, 1, f"{key!r} trained on at step {steps_of[key]} and again at step {step.step}"
                    )
                steps_of[key] = step.step

    def _disagree(self, where: str, sentence: str) -> None:
        self.findings.add(Breach.DISAGREEMENT, 1, f"{where}: {sentence}")


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _ledger_says(path: Path) -> tuple[set[str], set[str], dict[str, int]]:
    """Keys that are live and abandoned, and the step of each that was consumed."""
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)) as connection:
        rows = connection.execute("SELECT key, state, consumed_step FROM groups").fetchall()
        spent = connection.execute("SELECT key, step FROM spent").fetchall()
    live = {key for key, state, _ in rows if _WAITING <= state <= _READY}
    abandoned = {key for key, state, _ in rows if state == _ABANDONED} | {key for key, step in spent if step is None}
    consumed = {key: step for key, state, step in rows if state == _CONSUMED}
    consumed |= {key: step for key, step in spent if step is not None}
    return live, abandoned, consumed


def _some(keys: set[str]) -> str:
    first = min(keys, default="", key=lambda key: (len(key), key))
    return f"prompt {first!r} is" if len(keys) == 1 else f"{len(keys)} prompts ({first!r} the first) are"
