"""Comparing two mathematical answers, for use inside a killable child process only: our rules, then Math-Verify.

Invariant: a text counts as read only if all its digits were read, because a part of it (the 40 of "40 apples, 60
pears") could equal anything. Nothing here bounds time or memory, and parsing untrusted LaTeX needs both, so no other
process may import this module. Numbers and words are compared elsewhere.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Literal

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, MatrixBase

from pangu_verl.mars.maths.equality import same_meaning
from pangu_verl.mars.maths.precision import request_of

Finding = Literal["equal", "different", "gold unreadable"]

_UNIT = re.compile(r"\\(?:text|mbox|textbf|textrm|textnormal|mathrm)\s*\{[^{}]*\}\s*\^\s*\{?[0-9]\}?")
_DIGIT = re.compile(r"[0-9]")
_UPRIGHT_LETTER = re.compile(r"\\(?:mathrm|operatorname)\s*\{\s*([a-zA-Z])\s*\}")
_UNICODE: dict[int, str | int | None] = {
    ord("π"): r"\pi ",
    ord("∞"): r"\infty ",
    ord("∪"): r"\cup ",
    ord("∩"): r"\cap ",
    ord("≤"): r"\le ",
    ord("≥"): r"\ge ",
    ord("×"): r"\times ",
    ord("·"): r"\cdot ",
    ord("÷"): r"\div ",
    ord("±"): r"\pm ",
    ord("²"): "^2",
    ord("³"): "^3",
    ord("−"): "-",
}

logging.getLogger("math_verify").setLevel(logging.ERROR)


def compare(gold: str, answer: str, question: str = "") -> Finding:
    """Our rules first; Math-Verify where they do not understand one of the two."""
    finding = same_meaning(gold, answer, question, request_of(question))
    if finding is not None:
        return "equal" if finding else "different"
    gold_values = _parsed(gold)
    if not any(isinstance(value, Basic | MatrixBase) for value in gold_values):
        return "gold unreadable"
    equal = verify(
        gold_values, _parsed(answer), allow_set_relation_comp=True, timeout_seconds=None, raise_on_error=True
    )
    return "equal" if equal else "different"


def _parsed(text: str) -> list[Any]:
    """What Math-Verify reads: an expression and its normalised text, the text alone, or nothing."""
    text = _UPRIGHT_LETTER.sub(r"{\1}", text.translate(_UNICODE))
    latex = text if "$" in text else "$" + " ".join(text.split()).rstrip(".") + "$"
    values: list[Any] = parse(latex, extraction_config=[LatexExtractionConfig()], parsing_timeout=None)
    num_digits_read = max((len(_DIGIT.findall(value)) for value in values if isinstance(value, str)), default=0)
    return values if num_digits_read >= len(_DIGIT.findall(_UNIT.sub("", text))) else []


# The first comparisons build the parser's caches, which belong to no answer's time.
for _gold, _answer in (
    ("1", "x+1"),
    (r"\frac{\sqrt{3}}{2}", r"\frac{3}{2\sqrt{3}}"),
    (r"x^{2}-\sin(2x)+a_{1}", r"x \cdot x - 2\sin x\cos x + a_1 + e^{-x} - \log_2 8"),
    (r"y=\frac{x!}{3}+\pi", r"-3y+x!+3\pi = 0"),
    (r"(-\infty, 2] \cup \{3\}", r"x \le 2"),
    (r"|x|+\binom{5}{2}", r"\left|x\right| + 10\%"),
):
    compare(_gold, _answer)
    verify(_parsed(_gold), _parsed(_answer), timeout_seconds=None)
