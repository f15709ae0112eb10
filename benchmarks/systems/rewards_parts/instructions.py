"""The instruction reward on IFEval's rows: how many are understood, and agreement with graded answers where there are.

``general/ifeval_strict.jsonl`` and ``general/ifeval_loose.jsonl`` are what IFEval's own program writes for the answers
of some model; without both the agreement is left out, as is the whole part without the plugin pangu-verl-ifeval.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pangu_verl.types import RewardRow, Verdict

from . import IFEVAL

GRADED = ("general/ifeval_strict.jsonl", "general/ifeval_loose.jsonl")
Row = dict[str, Any]


def measure(data: Path, repeats: int) -> dict[str, Any]:
    if find_spec("pangu_verl_ifeval") is None:
        return {"left_out": "pangu-verl-ifeval is not installed"}
    rows = _lines(data / IFEVAL)
    graded = [_lines(data / file) for file in GRADED if (data / file).is_file()]
    return understood(rows) | (agreement(rows, *graded) if len(graded) == len(GRADED) else {})


def understood(rows: list[Row]) -> dict[str, Any]:
    """How many rows get a verdict, judged on their own prompts; the reasons of those that get none."""
    verdicts = [judged(row, row["prompt"]) for row in rows]
    refused = Counter(verdict.reason for verdict in verdicts if verdict.score is None)
    checks = sum(len(row["instruction_id_list"]) for row in rows)
    return {"rows": len(rows), "checks": checks, "rows_understood": len(rows) - refused.total(), "refused": refused}


def agreement(rows: list[Row], strict: list[Row], loose: list[Row]) -> dict[str, Any]:
    """How many checks of graded answers come out as graded, strictly and loosely, and where they do not."""
    row_by_prompt = {row["prompt"]: row for row in rows}
    started = time.process_time()
    compared: Counter[str] = Counter()
    differing: Counter[str] = Counter()
    for strictly, loosely in zip(strict, loose, strict=True):
        verdict = judged(row_by_prompt[strictly["prompt"]], strictly["response"])
        graded = zip(strictly["follow_instruction_list"], loosely["follow_instruction_list"], strict=True)
        for check, (met, loosely_met) in zip(verdict.details["checks"], graded, strict=True):
            compared.update(strict=1, strict_same=check["met"] == met, loose_same=check["loosely_met"] == loosely_met)
            differing.update({check["id"]: check["met"] != met})
    return {
        "graded_checks": compared["strict"],
        "strict_agreement": compared["strict_same"] / compared["strict"],
        "loose_agreement": compared["loose_same"] / compared["strict"],
        "strict_differences": {name: count for name, count in differing.items() if count},
        "cpu_seconds_per_row": (time.process_time() - started) / len(strict),
    }


def judged(row: Row, answer: str) -> Verdict:
    from pangu_verl_ifeval.source import InstructionSource  # a plugin, which need not be there

    pairs = zip(row["instruction_id_list"], row["kwargs"], strict=True)
    checks = [{"id": name, **arguments} for name, arguments in pairs]
    reward_row = RewardRow(id="", domain="instruction", question="", response=answer, answer=answer, checks=checks)
    return asyncio.run(InstructionSource().judge(reward_row))


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(figures: dict[str, Any]) -> list[list[object]]:
    if "left_out" in figures:
        return [["left out", "why"], ["instructions", figures["left_out"]]]
    heading: list[object] = ["rows", "understood", "checks", "as graded, strict", "as graded, loose"]
    keys = ["rows", "rows_understood", "checks", "strict_agreement", "loose_agreement"]
    return [heading, [figures.get(key) for key in keys]]
