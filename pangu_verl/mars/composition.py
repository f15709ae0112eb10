"""One verdict out of correctness, the format gate and the auxiliary terms.

    score = 0                                            where the gate finds a fault
    score = clip(correctness + clip(sum of terms), 0, 1)  otherwise; the sum is kept in -0.5..0.5

Invariants: ``passed`` is that of correctness, untouched; a term that pays counts only where ``passed`` is true, so that
neither format nor length lifts a wrong answer; the score stays in 0..1; what could not be judged stays None. A full
score keeps at least half, whatever the terms take. The values are project defaults: the paper publishes none.

``details["breakdown"]`` keeps each part apart: correctness under its source's name, ``format_gate`` where the row has a
mode, and ``auxiliary`` with every term's amount as it was given.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pangu_verl.mars.asking import text_of
from pangu_verl.mars.format_gate import MODES, format_fault
from pangu_verl.types import AuxiliaryTerm, RewardRow, Verdict

MOST_AUXILIARY = 0.5


def compose(row: RewardRow, correctness: Verdict, terms: Iterable[AuxiliaryTerm]) -> Verdict:
    """The composed verdict of a row. Raises nothing: a mode or a term that is broken leaves the score None, named."""
    started = time.perf_counter()
    breakdown: dict[str, Any] = {correctness.source: _as_part(correctness)}
    details = {**correctness.details, "breakdown": breakdown}
    fault, complaints = None, []
    if row.mode is not None:
        if row.mode in MODES:
            fault = format_fault(row.response, row.mode)
            breakdown["format_gate"] = {"mode": row.mode, "fault": fault}
        else:
            complaints.append(f"the row has mode {row.mode!r}, expected one of {', '.join(MODES)}")
    if fault is not None:
        details["format_failure"] = True
    amounts = breakdown["auxiliary"] = {}
    for term in terms:
        try:
            amounts[term.name] = _checked(term.apply(row, correctness))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's term; its failure is data with a reason
            complaints.append(f"auxiliary term {term.name!r} failed: {type(error).__name__}: {text_of(error)}")
    score = None if complaints else _score(correctness, fault, amounts)
    return replace(
        correctness,
        score=score,
        reason="; ".join([correctness.reason, *([f"format: {fault}"] if fault else []), *complaints]),
        seconds=correctness.seconds + time.perf_counter() - started,
        details=details,
    )


def _score(correctness: Verdict, fault: str | None, amounts: dict[str, float]) -> float | None:
    if correctness.score is None:
        return None
    if fault is not None:
        return 0.0
    counted = [amount for amount in amounts.values() if amount < 0 or correctness.passed is True]
    total = min(MOST_AUXILIARY, max(-MOST_AUXILIARY, math.fsum(counted)))
    return min(1.0, max(0.0, correctness.score + total))


def _as_part(correctness: Verdict) -> dict[str, Any]:
    return {"score": correctness.score, "passed": correctness.passed, "reason": correctness.reason}


def _checked(amount: float) -> float:
    if not -1.0 <= amount <= 1.0:
        raise ValueError(f"gave {amount!r}, expected an amount in -1..1")
    return float(amount) + 0.0  # which makes -0.0 a plain zero
