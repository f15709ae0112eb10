r"""The response that a row's own gold answer makes, and what else can be asked of a row that has none.

A maths gold is boxed, a choice is its letter, general rows say their (first) reference. A code row's ground truth is a
program where ``tests`` are given beside it; without them it is the tests themselves. Rows of a plugin's own domain
answer with their ground truth. Invariant: the gold goes through the reward like any response, so a gold that the
reward would not pay for is found, whatever the cause.
"""

from __future__ import annotations

import json
import re

from pangu_verl.mars.choice import gold_letter, options_in
from pangu_verl.mars.code.foreign_rows import RowError
from pangu_verl.mars.code.rows import parse_tests
from pangu_verl.mars.general import references_of
from pangu_verl.mars.maths import gold_answer
from pangu_verl.rewards.rows import GoldRow

#: Instruction rows have checks and no gold: whether the checks are understood shows on any answer.
ANY_ANSWER = "This is an answer of one sentence, which may or may not meet the checks of its row."

_BACKTICKS = re.compile(r"`+")


def gold_response(row: GoldRow) -> str | None:
    """The response to judge; None where the row has no gold answer, which maths and choice rows always need."""
    gold = row.ground_truth or ""
    match row.domain:
        case "math":
            return rf"\boxed{{{gold_answer(gold)}}}"
        case "choice":
            return gold_letter(gold, options_in(row.question)) or gold
        case "general":
            return next(iter(references_of(gold)), None)
        case "code":
            return _fenced(gold) if row.tests and gold.strip() and not _is_json(gold) else None
        case "instruction":
            return None
    return gold or None


def fault_in_tests(row: GoldRow) -> str | None:
    """Why the tests of a code row without a gold program cannot be used; None if they can."""
    try:
        parse_tests(row.with_response(""))
    except RowError as error:
        return str(error)
    return None


def _fenced(program: str) -> str:
    longest = max((len(run) for run in _BACKTICKS.findall(program)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}python\n{program}\n{marks}"


def _is_json(text: str) -> bool:
    """A list or an object is a list of tests, as APPS and LiveCodeBench keep them."""
    try:
        return isinstance(json.loads(text), list | dict)
    except (ValueError, RecursionError):
        return False
