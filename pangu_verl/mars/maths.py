"""The maths reward: whether the final answer of a response equals the gold answer.

Three rungs, the cheapest first, each of which may settle it: ``literal`` (the same text or word), ``numeric`` (exact
arithmetic on two numbers) and ``symbolic`` (Math-Verify, in a child process that can be killed).

Invariant: only an answer that was compared and found different, or that is not there, fails. What the checker could
not finish (a limit reached, an answer too long for it, a gold it cannot read) is None: a bomb is never rewarded, and
as nothing is trained on it, neither is a policy taught by the checker's limits. Only ``row.answer`` is read, so what
the reasoning says earns nothing. Units are not compared ("18 dollars" is 18), nor is the working.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any, Literal

from pangu_verl.mars.answers import Extraction, extract_final_answer, find_boxed
from pangu_verl.mars.killable import CallFailed, KillableFunction, Limits
from pangu_verl.mars.literal import as_word, is_denied, normal_form
from pangu_verl.mars.numeric import numbers_agree, read_number
from pangu_verl.types import RewardRow, Verdict

Rung = Literal["literal", "numeric", "symbolic"]

LONGEST_SYMBOLIC_CHARACTERS = 2_000
SHOWN_CHARACTERS = 200


class MathsSource:
    """Judges maths rows. ``slots`` is how many symbolic comparisons may run at a time, each in a child of its own."""

    name = "maths"
    domains = frozenset({"math"})

    def __init__(self, *, limits: Limits | None = None, slots: int = 1) -> None:
        self._symbolic = KillableFunction("pangu_verl.mars.symbolic:compare", limits=limits or Limits(), slots=slots)

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
        settled = settle_plainly(gold, extraction.text)
        if settled is None:
            return await self._judge_symbolically(gold, extraction)
        rung, equal = settled
        return _compared(equal, gold, _details(extraction, rung))

    async def _judge_symbolically(self, gold: str, extraction: Extraction) -> Verdict:
        details = _details(extraction, "symbolic")
        for what, text in (("gold answer", gold), ("answer", extraction.text)):
            if len(text) > LONGEST_SYMBOLIC_CHARACTERS:
                limit = f"the symbolic check takes {LONGEST_SYMBOLIC_CHARACTERS} characters"
                return _unjudged(f"{limit}; the {what} has {len(text)}", details)
        try:
            finding = await asyncio.wrap_future(self._symbolic.submit(gold, extraction.text))
        except CallFailed as error:
            return _unjudged(f"the symbolic check gave no result: {error}", details)
        if finding == "gold unreadable":
            return _unjudged(f"the gold answer {_shown(gold)} cannot be read as mathematics", details)
        return _compared(finding == "equal", gold, details)


def gold_answer(ground_truth: str) -> str:
    """The answer in a gold text, which may be a whole solution that ends in a box or in ``#### 18``."""
    return find_boxed(ground_truth) or ground_truth.rpartition("####")[2].strip()


def settle_plainly(gold: str, answer: str) -> tuple[Rung, bool] | None:
    """Whether two answers are equal, and the rung that says so; None if that takes mathematics."""
    if normal_form(gold) == normal_form(answer):
        return "literal", True
    word = as_word(gold)
    if word is not None:
        return "literal", word == as_word(answer)
    if is_denied(answer) and not is_denied(gold):
        return "literal", False
    gold_number = read_number(gold, bare_units=False)
    if gold_number is None:
        return None
    answer_number = read_number(answer, bare_units=True)
    if answer_number is None:
        return ("literal", False) if as_word(answer) is not None else None
    return "numeric", numbers_agree(gold_number, answer_number)


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
