"""The instruction-following reward: how many of a row's checks its answer meets, strictly and loosely.

Strict and loose are IFEval's two accuracies (arXiv 2311.07911, section 3.2). Invariant: ``score`` and ``passed`` are
the strict ones; an empty answer meets nothing; a row with one check that cannot be used has no verdict at all, because
a share over the others would be a different reward. Only ``row.answer`` is read.
"""

from __future__ import annotations

import time
from dataclasses import replace

from pangu_verl.types import RewardRow, Verdict
from pangu_verl_ifeval.checks import BoundCheck, bound_checks
from pangu_verl_ifeval.refusal import CannotJudge

LONGEST_CHARACTERS = 200_000


class InstructionSource:
    """Judges instruction rows by their ``checks``."""

    name = "ifeval"
    domains = frozenset({"instruction"})

    async def judge(self, row: RewardRow) -> Verdict:
        started = time.perf_counter()
        try:
            verdict = _judge(row)
        except CannotJudge as refusal:
            verdict = Verdict(score=None, passed=None, reason=str(refusal), source=self.name)
        return replace(verdict, seconds=time.perf_counter() - started)


def _judge(row: RewardRow) -> Verdict:
    checks = bound_checks(row.checks)
    if len(row.answer) > LONGEST_CHARACTERS:
        raise CannotJudge(f"checks take {LONGEST_CHARACTERS} characters; the answer has {len(row.answer)}")
    others = _loose_forms(row.answer)
    strict = [_meets(check, row.answer) for check in checks]
    loose = [met or any(_meets(check, form) for form in others) for met, check in zip(strict, checks, strict=True)]
    missed = [check.id for check, met in zip(checks, strict, strict=True) if not met]
    return Verdict(
        score=sum(strict) / len(checks),
        passed=not missed,
        reason=f"{sum(strict)} of {len(checks)} checks met" + (f"; not met: {', '.join(missed)}" if missed else ""),
        source=InstructionSource.name,
        details={
            "checks": [
                {"id": check.id, "met": met, "loosely_met": loosely}
                for check, met, loosely in zip(checks, strict, loose, strict=True)
            ],
            "loose_score": sum(loose) / len(checks),
            "loose_passed": all(loose),
        },
    )


def _meets(check: BoundCheck, answer: str) -> bool:
    return bool(answer.strip()) and check.is_met(answer)


def _loose_forms(answer: str) -> list[str]:
    """The answer without its first line, its last line, both; and these and the whole without asterisks."""
    lines = answer.split("\n")
    parts = [answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    forms = dict.fromkeys([*parts, *(part.replace("*", "") for part in parts)])
    return [form for form in forms if form != answer]
