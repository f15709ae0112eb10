"""The maths reward: whether the final answer of a response equals the gold answer.

Three rungs, the cheapest first, each of which may settle it: ``literal`` (the same text, word or letter of a choice),
``numeric`` (exact arithmetic on two numbers, rounded as the question asks) and ``symbolic`` (shapes and formulas by our
rules, then Math-Verify for what they do not understand, in a child process that can be killed).

Invariant: only an answer that was compared and found different, or that is not there, fails. What the checker could
not finish (a limit reached, an answer too long for it, a gold it cannot read) is None: a bomb is never rewarded, and
as nothing is trained on it, neither is a policy taught by the checker's limits. Only ``row.answer`` is read, so what
the reasoning says earns nothing. Units are not compared ("18 dollars" is 18), nor is the working.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from pangu_verl.mars.answers import Extraction, extract_final_answer
from pangu_verl.mars.killable import CallFailed, KillableFunction, Limits
from pangu_verl.mars.maths.gold import gold_answer
from pangu_verl.mars.maths.plain import Rung, settle_plainly
from pangu_verl.types import RewardRow, Verdict

#: Under the second of CPU time that any verdict may take in all.
LIMITS = Limits(cpu_seconds=0.9)
LONGEST_SYMBOLIC_CHARACTERS = 2_000
QUESTION_CHARACTERS = 4_000
SHOWN_CHARACTERS = 200

_COMPARE = "pangu_verl.mars.maths.symbolic:compare"


class MathsSource:
    """Judges maths rows. ``slots`` is how many symbolic comparisons may run at a time, each in a child of its own."""

    name = "maths"
    domains = frozenset({"math"})

    def __init__(self, *, limits: Limits | None = None, slots: int = 1) -> None:
        self._symbolic = KillableFunction(_COMPARE, limits=limits or LIMITS, slots=slots)

    async def judge(self, row: RewardRow) -> Verdict:
        started = time.perf_counter()
        verdict = await self._judge(row)
        return replace(verdict, seconds=time.perf_counter() - started)

    def close(self) -> None:
        self._symbolic.close()

    async def _judge(self, row: RewardRow) -> Verdict:
        gold = gold_answer(row.ground_truth or "")
        if not gold:
            return _unjudged("the row has no ground truth", {})
        extraction = extract_final_answer(row.answer)
        if extraction is None:
            return _judged(False, "no answer found", {"format_failure": True})
        settled = settle_plainly(gold, extraction.text, row.question)
        if settled is None:
            return await self._judge_symbolically(gold, extraction, row.question)
        rung, equal = settled
        return _compared(equal, gold, _details(extraction, rung))

    async def _judge_symbolically(self, gold: str, extraction: Extraction, question: str) -> Verdict:
        details = _details(extraction, "symbolic")
        for what, text in (("gold answer", gold), ("answer", extraction.text)):
            if len(text) > LONGEST_SYMBOLIC_CHARACTERS:
                limit = f"the symbolic check takes {LONGEST_SYMBOLIC_CHARACTERS} characters"
                return _unjudged(f"{limit}; the {what} has {len(text)}", details)
        try:
            finding = await asyncio.wrap_future(
                self._symbolic.submit(gold, extraction.text, question[-QUESTION_CHARACTERS:])
            )
        except CallFailed as error:
            return _unjudged(f"the symbolic check gave no result: {error}", details)
        if finding == "gold unreadable":
            return _unjudged(f"the gold answer {_shown(gold)} cannot be read as mathematics", details)
        return _compared(finding == "equal", gold, details)


def _details(extraction: Extraction, rung: Rung) -> dict[str, Any]:
    return {"rung": rung, "extracted": extraction.text[:SHOWN_CHARACTERS], "found_by": extraction.found_by}


def _compared(equal: bool, gold: str, details: dict[str, Any]) -> Verdict:
    relation = "equals" if equal else "is not"
    return _judged(equal, f"the answer {_shown(details['extracted'])} {relation} {_shown(gold)}", details)


def _judged(passed: bool, reason: str, details: dict[str, Any]) -> Verdict:
    return Verdict(score=float(passed), passed=passed, reason=reason, source=MathsSource.name, details=details)


def _unjudged(reason: str, details: dict[str, Any]) -> Verdict:
    return Verdict(score=None, passed=None, reason=reason, source=MathsSource.name, details=details)


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")
