"""Asking one source about one row, made safe: whatever a source does, what comes back is a verdict.

Invariant: never raises but for cancellation. A source that raises, answers with something that is no verdict, or gives
none in time, has not judged: its verdict is None with a reason.
"""

from __future__ import annotations

import asyncio
import numbers
import time
from collections.abc import Mapping
from dataclasses import replace

from pangu_verl.errors import first_line
from pangu_verl.types import RewardRow, RewardSource, Verdict

_SHOWN_CHARACTERS = 200


async def ask(source: RewardSource, row: RewardRow, *, timeout_s: float | None = None) -> Verdict:
    """The source's verdict, in the declared types; ``timeout_s`` is wall time, waiting for its turn included."""
    started = time.perf_counter()
    name = source.name
    try:
        async with asyncio.timeout(timeout_s):
            verdict = _checked(name, await source.judge(row))
    except TimeoutError as error:
        late = timeout_s is not None and time.perf_counter() - started >= timeout_s
        reason = f"gave no verdict within {timeout_s:g} s" if late else f"raised TimeoutError: {text_of(error)}"
        verdict = unjudged(name, f"reward source {name!r} {reason}")
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        verdict = unjudged(name, f"reward source {name!r} cancelled its own work")
    # SystemExit would end the worker; a source that runs an interpreter may meet one.
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it was, it is no verdict
        verdict = unjudged(name, f"reward source {name!r} raised {type(error).__name__}: {text_of(error)}")
    return replace(verdict, seconds=time.perf_counter() - started)


def unjudged(source: str, reason: str) -> Verdict:
    """The verdict of a source that could not judge."""
    return Verdict(score=None, passed=None, reason=reason, source=source)


def _checked(name: str, verdict: object) -> Verdict:
    if not isinstance(verdict, Verdict):
        return unjudged(name, f"reward source {name!r} returned {_shown(verdict)}, expected a Verdict")
    score, passed = verdict.score, verdict.passed
    if not isinstance(score, numbers.Real | None) or not isinstance(passed, bool | None):
        return unjudged(
            name,
            f"reward source {name!r} returned the score {_shown(score)} and passed={_shown(passed)}, expected a number "
            "and a bool, or None",
        )
    return replace(
        verdict,
        score=None if score is None else float(score),
        # Correctness without a score says nothing that could be trained on.
        passed=None if score is None else passed,
        reason=str(verdict.reason) or "no reason given",
        source=name,
        details=dict(verdict.details) if isinstance(verdict.details, Mapping) else {},
    )


def text_of(error: BaseException) -> str:
    """The first line of an error; one that cannot even be printed has its class alone."""
    try:
        return first_line(error)[:_SHOWN_CHARACTERS]
    except Exception:  # noqa: BLE001 - __str__ of a stranger may raise anything
        return type(error).__name__


def _shown(value: object) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - so may __repr__
        text = f"a {type(value).__name__} that cannot be printed"
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
