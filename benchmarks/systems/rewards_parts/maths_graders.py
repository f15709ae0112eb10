"""The graders of maths answers, each given an answer in the form that it asks for.

Math-Verify reads LaTeX between delimiters, verl's ``gsm8k`` an answer after "####", ``math_dapo`` one after "Answer:",
``math_reward`` and ``prime_math`` a boxed one. Ours reads every row as it stands. Invariant: what a grader raises is
"no verdict", never an acceptance.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("VERL_USE_EXTERNAL_PLUGINS", "none")  # verl as it is, for what is measured is verl's own

from math_verify import parse, verify
from verl.utils.reward_score import gsm8k, math_dapo, math_reward, prime_math

from pangu_verl.mars.answers import split_reasoning
from pangu_verl.mars.maths import MathsSource
from pangu_verl.types import RewardRow

from . import GSM8K, HARD_VERIFY, MATH_VERIFY, OURS

Row = dict[str, Any]

_FINAL_LINE = re.compile(r"^A: (.*)", re.MULTILINE)

logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # or each limit that it meets is a line on the screen


@dataclass(frozen=True, slots=True)
class Peer:
    """``accepts`` takes the gold answer and the response, rewritten as the grader asks for."""

    name: str
    accepts: Callable[[str, str], bool]

    def judge(self, gold: str, response: str) -> bool | None:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # verl's scorers print what they cannot read
                return bool(self.accepts(gold, response))
        except Exception:  # noqa: BLE001 - whatever a grader raises, it gave no verdict
            return None


class OurMaths:
    """Our maths source with its child already started."""

    name = OURS

    def __init__(self) -> None:
        self._source = MathsSource()

    async def start(self) -> None:
        """Also after a child was ended for a limit: the next one has then started, apart from any verdict."""
        await self.judge({"id": "", "gold": "x+1", "prediction": r"\boxed{1+x}"})

    async def judge(self, row: Row) -> bool | None:
        return (await self._source.judge(reward_row(row))).passed

    def close(self) -> None:
        self._source.close()


def peers_for(file: str) -> list[Peer]:
    """The graders that can read the rows of ``file`` at all."""
    return {GSM8K: _OF_SOLUTIONS, HARD_VERIFY: _OF_BARE_ANSWERS, MATH_VERIFY: [_MATH_VERIFY_AS_IS]}[file]


def reward_row(row: Row) -> RewardRow:
    """The row as our source takes it; a precision that a test passes as an option is asked for by the question."""
    precision = (row.get("params") or {}).get("precision")
    asked = f"Give decimals to {precision} decimal places." if precision is not None and precision < 6 else ""
    return RewardRow(
        id=str(row["id"]),
        domain="math",
        question=row.get("question") or asked,
        response=row["prediction"],
        answer=split_reasoning(row["prediction"]),
        ground_truth=row["gold"],
    )


def _math_verify(gold: str, response: str) -> bool:
    return bool(verify(parse(gold), parse(response)))


def _as_latex(text: str) -> str:
    return text if "$" in text else f"${text}$"


def _bare(gold: str) -> str:
    return gold.strip().strip("$").strip()


def _with_final_line(form: Callable[[str], str]) -> Callable[[str], str]:
    return lambda response: _FINAL_LINE.sub(lambda line: form(line[1]), response)


def _boxed(answer: str) -> str:
    return rf"\boxed{{{answer}}}"


def _after_answer(answer: str) -> str:
    return f"Answer: {answer}"


def _after_marks(answer: str) -> str:
    return f"#### {answer}"


def _verl_peers(form_of: Callable[[Callable[[str], str]], Callable[[str], str]]) -> list[Peer]:
    boxed, after_answer = form_of(_boxed), form_of(_after_answer)
    return [
        Peer("verl math_dapo", lambda gold, text: math_dapo.compute_score(after_answer(text), _bare(gold))["acc"]),
        Peer("verl math_reward", lambda gold, text: math_reward.compute_score(boxed(text), _bare(gold)) == 1.0),
        Peer("verl prime_math", lambda gold, text: prime_math.compute_score(boxed(text), _bare(gold))[0]),
    ]


_MATH_VERIFY_AS_IS = Peer("math-verify", _math_verify)
_AFTER_MARKS = _with_final_line(_after_marks)
_GSM8K_SCORER = Peer("verl gsm8k", lambda gold, text: gsm8k.compute_score(_AFTER_MARKS(text), gold) == 1.0)
_OF_SOLUTIONS = [_MATH_VERIFY_AS_IS, _GSM8K_SCORER, *_verl_peers(_with_final_line)]
_OF_BARE_ANSWERS = [
    Peer("math-verify", lambda gold, text: _math_verify(_as_latex(gold), _as_latex(text))),
    *_verl_peers(lambda form: form),
]
