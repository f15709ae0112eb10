"""Run folders made by hand: whole ones, and ones that a killed process left."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]

FACTS: Mapping[str, Any] = {
    "name": "sums",
    "status": "finished",
    "failure": None,
    "command": ["pangu-verl", "train", "data.max_response_length=40"],
    "model": "Qwen2.5-0.5B-Instruct",
    "seed": 7,
    "started_at": "2026-08-22T10:11:12+02:00",
    "total_seconds": 600.0,
    "train_seconds": 450.0,
    "commit": "0a1b2c3",
    "versions": {"verl": "0.9.1", "torch": "2.10.0"},
    "machine": {"processor": "a processor", "cores": 2, "memory_gib": 23.5},
    "peak_pss_gib": 9.4,
    "engine": {"busy_s": 90.0, "idle_s": 10.0, "generated_tokens": 4500},
}


def training_line(step: int, **more: float) -> dict[str, Any]:
    """One line of metrics.jsonl, as verl's file tracker writes it."""
    data = {
        "critic/score/mean": 0.3 + 0.01 * step,
        "actor/entropy": 1.0 - 0.01 * step,
        "actor/grad_norm": 1.5,
        "response_length/mean": 30.0 - step,
        "response_length/clip_ratio": 0.2,
        "timing_s/gen": 6.0,
        "timing_s/update_actor": 20.0,
        "timing_s/update_weights": 0.5,
        "timing_s/step": 28.0,
    }
    return {"step": step, "data": data | more}


TRAINING = tuple(training_line(step) for step in range(1, 5))


class Runs:
    """Makes run folders in a temporary place. A test gets it as a fixture, its helpers with it."""

    facts = FACTS
    training_line = staticmethod(training_line)

    def __init__(self, place: Path) -> None:
        self._place = place

    @staticmethod
    def row(prompt: str, passed: object, **more: object) -> Row:
        """One validation row. A value of ``...`` leaves the key out."""
        found = {"input": prompt, "output": f"answer to {prompt}", "gts": "4", "score": 1.0, "step": 0}
        found |= {"passed": passed, "format_failure": 0, "reason": "compared", **more}
        return {key: value for key, value in found.items() if value is not ...}

    @staticmethod
    def opinion(source: str, passed: bool | None, /, **more: object) -> Row:
        """What one source said. With ``passed`` null it could not judge, unless ``more`` has a score."""
        score = None if passed is None else float(passed)
        found = {"source": source, "score": score, "passed": passed, "reason": "compared", "seconds": 0.002}
        return {**found, "is_audit": False, **more}

    @classmethod
    def verdict(cls, source: str, passed: bool | None, domain: str = "maths", /, **more: Any) -> Row:
        """One line of rewards/verdicts.jsonl. A value of ``...`` leaves the key out."""
        said = cls.opinion(source, passed)
        said.pop("is_audit")
        part = {name: said[name] for name in ("score", "passed", "reason")}
        found = {"at": "2026-08-22T10:11:12+00:00", "id": "7", "domain": domain, **said}
        found |= {"opinions": [cls.opinion(source, passed)], "breakdown": {source: part, "auxiliary": {}}, **more}
        return {key: value for key, value in found.items() if value is not ...}

    @classmethod
    def add_rewards(
        cls,
        folder: Path,
        verdicts: Iterable[Mapping[str, Any]] | str | None = None,
        changes: Iterable[Mapping[str, Any]] | str | None = None,
        reliability: Mapping[str, Any] | str | None = None,
    ) -> Path:
        """Give a run folder its rewards/; ``None`` leaves a file out, and text is written as it is."""
        place = folder / "rewards"
        place.mkdir()
        for name, found in (("verdicts.jsonl", verdicts), ("changes.jsonl", changes)):
            if found is not None:
                cls._write(place / name, found if isinstance(found, str) else cls.lines(found))
        if reliability is not None:
            text = reliability if isinstance(reliability, str) else json.dumps(reliability)
            cls._write(place / "reliability.json", text)
        return folder

    @staticmethod
    def lines(objects: Iterable[Mapping[str, Any]]) -> str:
        return "".join(json.dumps(found, ensure_ascii=False) + "\n" for found in objects)

    def make(
        self,
        facts: Mapping[str, Any] | str | None = FACTS,
        metrics: Iterable[Mapping[str, Any]] | str | None = TRAINING,
        validation: Mapping[int, Iterable[Row] | str] | None = None,
        name: str = "run",
        config: str | None = None,
    ) -> Path:
        """Write a folder; ``None`` leaves a file out, and text is written as it is."""
        folder = self._place / name
        folder.mkdir(parents=True)
        if facts is not None:
            self._write(folder / "run.json", facts if isinstance(facts, str) else json.dumps(facts))
        if metrics is not None:
            self._write(folder / "metrics.jsonl", metrics if isinstance(metrics, str) else self.lines(metrics))
        for step, rows in (validation or {}).items():
            path = folder / "validation" / f"{step}.jsonl"
            path.parent.mkdir(exist_ok=True)
            self._write(path, rows if isinstance(rows, str) else self.lines(rows))
        if config is not None:
            self._write(folder / "config.yaml", config)
        return folder

    def make_whole(self, **more: Any) -> Path:
        """40 prompts: 12 right before, 26 after; 16 fixed, 2 broken; 8 unreadable before (all wrong) and 1 after."""
        before, after = [], []
        for index in range(40):
            prompt, source = f"question {index}", ("add", "larger")[index % 2]
            unreadable = 20 <= index < 28
            tokens = 40 if unreadable else 20
            before.append(self._answer(prompt, index < 12, source, tokens, unreadable))
            after.append(self._answer(prompt, 2 <= index < 28, source, 10, index == 39))
        return self.make(validation={0: before, 4: list(reversed(after))}, **more)

    def _answer(self, prompt: str, passed: bool, source: str, tokens: int, unreadable: bool) -> Row:
        return self.row(prompt, passed, data_source=source, response_tokens=tokens, format_failure=int(unreadable))

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8", newline="")
