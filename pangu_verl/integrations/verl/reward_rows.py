"""Between verl's columns and our rows: what a reward source gets to see, and what verl gets back.

Columns are verl's own: ``ability`` is the domain, ``reward_model.ground_truth`` the gold answer; ``extra_info`` may
hold ``tests`` and ``checks`` (lists of objects, or the same as JSON text) and ``mode``, and reaches the source as
``extra``. Invariants: what verl gets back is finite and plain; every trajectory has the same keys, besides the parts of
its score.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping
from typing import Any

from pangu_verl.errors import first_line
from pangu_verl.mars.answers import split_reasoning
from pangu_verl.types import RewardRow, Verdict

#: The score that verl is given for an unjudged trajectory: any finite number would do.
PLACEHOLDER = 0.0


class UnreadableTests(ValueError):
    """The tests or checks of one row are not what they have to be; the message fits a verdict's reason."""


def row_of(
    response: str, columns: Mapping[str, Any], *, response_tokens: int, max_response_tokens: int | None
) -> RewardRow:
    """The row of one trajectory.

    Raises ``UnreadableTests``, and whatever reading a column of the wrong shape raises.
    """
    ground_truth = columns["reward_model"].get("ground_truth")
    prompt = columns.get("raw_prompt")
    extra = dict(columns.get("extra_info") or {})
    mode = extra.get("mode")
    return RewardRow(
        id=str(extra.get("index", "")),
        domain=str(columns.get("ability", "")),
        question=str(prompt[-1]["content"]) if prompt is not None and len(prompt) else "",
        response=response,
        answer=split_reasoning(response),
        ground_truth=None if ground_truth is None else str(ground_truth),
        tests=_objects(extra.pop("tests", None), "tests"),
        checks=_objects(extra.pop("checks", None), "checks"),
        mode=None if mode is None else str(mode),
        extra={
            **extra,
            "data_source": str(columns.get("data_source", "")),
            "response_tokens": response_tokens,
            "max_response_tokens": max_response_tokens,
        },
    )


def reward_of_verdict(verdict: Verdict, *, response_tokens: int, data_source: str) -> dict[str, Any]:
    """What verl's ``run_single`` returns. An unjudged verdict has ``judged`` false and the placeholder for a score."""
    is_judged = verdict.score is not None
    return {
        "reward_score": PLACEHOLDER if verdict.score is None else verdict.score,
        "reward_extra_info": {
            "score": verdict.score,
            "passed": verdict.passed,
            "judged": is_judged,
            "format_failure": float(verdict.details.get("format_failure") is True) if is_judged else None,
            "response_tokens": response_tokens,
            "seconds": verdict.seconds,
            "data_source": data_source,
            "source": verdict.source,
            "reason": verdict.reason,
            **_parts(verdict),
        },
    }


def _objects(value: Any, name: str) -> tuple[Mapping[str, Any], ...]:
    """A list of objects as parquet holds it: as such, as an array, or as JSON text where their shapes differ."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
        objects = () if found is None else tuple(found)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnreadableTests(f"extra_info.{name} is no list of objects: {first_line(error)}") from error
    for entry in objects:
        if not isinstance(entry, Mapping):
            raise UnreadableTests(f"extra_info.{name} holds a {type(entry).__name__}, expected objects")
    return objects


def _parts(verdict: Verdict) -> dict[str, float]:
    """The parts of a composed score (``mars/composition.py``): correctness, and each auxiliary term."""
    breakdown = _mapping(verdict.details.get("breakdown"))
    parts = {"correctness": _mapping(breakdown.get(verdict.source)).get("score")}
    parts |= {f"auxiliary/{name}": amount for name, amount in _mapping(breakdown.get("auxiliary")).items()}
    return {
        name: float(value) for name, value in parts.items() if isinstance(value, numbers.Real) and math.isfinite(value)
    }


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}
