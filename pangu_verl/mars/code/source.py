"""The code reward: whether the program in a response passes the tests of its row.

Stages: extract, compile, run, compare. Invariant: only a program that ran isolated and was compared from outside is
judged. Where nothing guards files, network or other processes, the source refuses (``passed`` None), unless it was made
with ``accept_unguarded``; so does it for a row whose tests cannot be understood or are broken themselves. Only
``row.answer`` is read, so code inside the reasoning earns nothing. What this reward cannot see: a program made for the
inputs that it meets.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pangu_verl.mars.code.extraction import extract_program
from pangu_verl.mars.code.foreign_rows import RowError
from pangu_verl.mars.code.launching import SandboxFailed
from pangu_verl.mars.code.outcomes import Outcome
from pangu_verl.mars.code.pool import SandboxPool
from pangu_verl.mars.code.rewards import CodeReward
from pangu_verl.mars.code.rows import Test, parse_tests
from pangu_verl.mars.code.running import run_test
from pangu_verl.mars.code.sandbox.layers import Standing
from pangu_verl.mars.code.warm_process import WarmProcess
from pangu_verl.types import RewardRow, Verdict

LONGEST_PROGRAM_CHARACTERS = 1_000_000
#: After so many tests over a limit the others count as not passed: a slow program must not hold a slot for an hour.
MOST_LIMITS_MET = 2


class CodeSource:
    """Judges code rows. ``slots`` is how many programs may run at a time; the pool may be given instead."""

    name = "code"
    domains = frozenset({"code"})

    def __init__(
        self,
        *,
        reward: CodeReward | None = None,
        slots: int = 2,
        accept_unguarded: bool = False,
        pool: SandboxPool | None = None,
    ) -> None:
        self._reward = reward or CodeReward()
        self._accept_unguarded = accept_unguarded
        self._pool = pool or SandboxPool(slots=slots)

    def with_options(self, options: Mapping[str, Any]) -> CodeSource:
        """``scheme``: pass_fraction (the share of tests passed) or stage (how far the program came).
        ``syntax_error``, ``runtime_error``, ``wrong``: what a stage is worth. ``slots``: programs at a time.
        ``accept_unguarded``: run programs also where the sandbox guards too little.

        Another source, with a sandbox of its own. Raises ``WrongUse`` for other options and values.
        """
        from pangu_verl.mars.code.options import code_options  # pydantic is too slow for commands that judge nothing

        chosen = code_options(options)
        return CodeSource(reward=chosen.reward(), slots=chosen.slots, accept_unguarded=chosen.accept_unguarded)

    async def judge(self, row: RewardRow) -> Verdict:
        started = time.perf_counter()
        given_up = threading.Event()
        try:
            verdict = await asyncio.wrap_future(self._pool.submit(lambda warm: self._judge(warm, row, given_up)))
        except (SandboxFailed, OSError) as error:
            verdict = _unjudged(f"the program could not be run: {error}", {})
        finally:
            given_up.set()  # where the caller was cancelled, the rest of the tests would hold the slot for nobody
        return replace(verdict, seconds=time.perf_counter() - started)

    def close(self) -> None:
        """Ends what runs; rows that wait get a verdict that says so."""
        self._pool.close()

    def _judge(self, warm: WarmProcess, row: RewardRow, given_up: threading.Event) -> Verdict:
        """In a thread of the pool, which reading a row of many megabytes would else keep from the event loop."""
        try:
            tests = parse_tests(row)
        except RowError as error:
            return _unjudged(str(error), {})
        program = extract_program(row.answer)
        if program is None:
            return _judged(0.0, False, "no code found", {"stage": "no_code"})
        if len(program) > LONGEST_PROGRAM_CHARACTERS:
            return _judged(0.0, False, f"code of {len(program)} characters", {"stage": "no_code"})
        return self._run(warm, program, tests, given_up)

    def _run(self, warm: WarmProcess, program: str, tests: Sequence[Test], given_up: threading.Event) -> Verdict:
        standing = warm.started()
        details = {"layers": sorted(standing.held), "lacking": dict(standing.lacking)}
        if standing.unguarded and not self._accept_unguarded:
            return _unjudged(_refusal(standing), details)
        outcomes = self._outcomes(warm, program, tests, given_up)
        broken = next((outcome for outcome in outcomes if outcome.passed is None), None)
        if broken is not None:
            return _unjudged(broken.reason, details)
        details |= _tally(outcomes, len(tests))
        failure = next((outcome for outcome in outcomes if not outcome.passed), None)
        score = self._reward.score(outcomes, len(tests))
        if failure is None:
            return _judged(score, True, f"passed {len(tests)} of {len(tests)} tests", details)
        return _judged(score, False, f"test {outcomes.index(failure)}: {failure.reason}", details)

    def _outcomes(
        self, warm: WarmProcess, program: str, tests: Sequence[Test], given_up: threading.Event
    ) -> list[Outcome]:
        """Of the tests in order, until nothing can change the verdict any more or nobody waits for it."""
        outcomes: list[Outcome] = []
        for test in tests:
            if given_up.is_set():
                raise SandboxFailed("nobody waits for the verdict any more")
            outcome = run_test(warm, program, test)
            outcomes.append(outcome)
            stages = Counter(each.stage for each in outcomes)
            is_settled = outcome.stage == "syntax_error" or stages["limit"] >= MOST_LIMITS_MET
            if outcome.passed is None or is_settled or not (outcome.passed or self._reward.needs_every_test):
                break
        return outcomes


def _refusal(standing: Standing) -> str:
    reasons = "; ".join(f"{layer}: {reason}" for layer, reason in standing.lacking.items())
    return f"model-written code is not run here: nothing guards {', '.join(standing.unguarded)} ({reasons})"


def _tally(outcomes: Sequence[Outcome], num_tests: int) -> dict[str, Any]:
    failure = next((outcome for outcome in outcomes if not outcome.passed), None)
    return {
        "num_tests": num_tests,
        "num_passed": sum(outcome.passed is True for outcome in outcomes),
        "num_run": len(outcomes),
        "stage": "passed" if failure is None else failure.stage,
    }


def _judged(score: float, passed: bool, reason: str, details: dict[str, Any]) -> Verdict:
    return Verdict(score=score, passed=passed, reason=reason, source=CodeSource.name, details=details)


def _unjudged(reason: str, details: dict[str, Any]) -> Verdict:
    return Verdict(score=None, passed=None, reason=reason, source=CodeSource.name, details=details)
