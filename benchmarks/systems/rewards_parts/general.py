"""The reference-based general reward on labelled answers: how many scores are the labelled ones.

A row holds ``prediction``, ``gold`` (a text or several), ``verifier`` and ``score``; the score of an ``F1Verifier`` is
compared with ours, that of any other with whether we pass it.
"""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

from pangu_verl.mars.answers import split_reasoning
from pangu_verl.mars.general import GeneralSource
from pangu_verl.types import RewardRow, Verdict

from . import OPEN_INSTRUCT


def measure(data: Path, repeats: int) -> dict[str, Any]:
    lines = (data / OPEN_INSTRUCT).read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    differing = [case["id"] for case in cases if not as_labelled(case)]
    return {"cases": len(cases), "as_labelled": len(cases) - len(differing), "differing_ids": differing}


def as_labelled(case: dict[str, Any]) -> bool:
    verdict = judged(case)
    found = verdict.score if case["verifier"] == "F1Verifier" else verdict.passed
    return found is not None and math.isclose(float(found), case["score"], abs_tol=1e-9)


def judged(case: dict[str, Any]) -> Verdict:
    response = case["prediction"]
    row = RewardRow(
        id=case["id"],
        domain="general",
        question="",
        response=response,
        answer=split_reasoning(response),
        ground_truth=case["gold"] if isinstance(case["gold"], str) else json.dumps(case["gold"]),
    )
    return asyncio.run(GeneralSource().judge(row))


def table(figures: dict[str, Any]) -> list[list[object]]:
    return [["cases", "scored as labelled"], [figures["cases"], figures["as_labelled"]]]
