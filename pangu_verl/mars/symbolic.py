"""Comparing two mathematical expressions with Math-Verify, for use inside a killable child process only.

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


def compare(gold: str, answer: str) -> Finding:
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


compare("1", "x+1")  # the first comparison builds caches, and belongs to no answer's time
