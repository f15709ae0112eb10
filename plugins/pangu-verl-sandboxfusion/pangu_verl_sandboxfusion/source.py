"""The reward source: one row of code in, one verdict out.

Invariant: a test fails only where the program ran, or was no program, and did not do what was expected. A sandbox that
is down or gives half a reply, and a test that cannot be run here, make the whole row None, with the reason and for
the sandbox an alarm. ``score`` is the share of tests passed (the paper's continuous code reward, §2.3); ``passed`` is
all of them.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import replace
from importlib.resources import files
from typing import Any

from pangu_verl.types import RewardRow, Verdict
from pangu_verl_sandboxfusion.api import CAPTURED_BYTES, Execution, SandboxFusionClient, SandboxUnavailable
from pangu_verl_sandboxfusion.comparison import same_output
from pangu_verl_sandboxfusion.rows import AssertTest, StdinTest, UnusableRow, code_of, is_text, read_tests
from pangu_verl_sandboxfusion.settings import SandboxFusionSettings

SHOWN_CHARACTERS = 100
SHOWN_FAILURES = 5
_HARNESS = "from pangu_verl_sandboxfusion.inside.harness import main\n\nmain()\n"


class SandboxFusionSource:
    """Judges code rows by their assert and stdin tests, each in a run of its own."""

    name = "sandboxfusion"
    domains = frozenset({"code"})

    def __init__(self, settings: SandboxFusionSettings, *, client: SandboxFusionClient | None = None) -> None:
        self._settings = settings
        self._client = client or SandboxFusionClient(settings)
        self._harness = _harness_files()
        self._sandbox_down = 0

    async def judge(self, row: RewardRow) -> Verdict:
        started = time.perf_counter()
        verdict = await self._judge(row)
        return replace(verdict, seconds=time.perf_counter() - started)

    async def close(self) -> None:
        await self._client.close()

    async def _judge(self, row: RewardRow) -> Verdict:
        try:
            tests = read_tests(row.tests)
            code = code_of(row.answer)
            if not code.strip():
                return self._verdict(0.0, False, "the answer holds no code", {})
            if not is_text(code):
                return self._verdict(0.0, False, "the code holds a lone surrogate, which no program may", {})
            failures = await self._failures(code, tests)
        except UnusableRow as error:
            return self._verdict(None, None, str(error), {})
        except SandboxUnavailable as error:
            self._sandbox_down += 1
            details = {"alarm": "sandbox_down", "sandbox_down_count": self._sandbox_down}
            return self._verdict(None, None, str(error), details)
        told = [f"test {number}: {failure}" for number, failure in enumerate(failures) if failure is not None]
        passed = len(tests) - len(told)
        reason = f"{passed} of {len(tests)} tests passed" + (f"; {told[0]}" if told else "")
        details = {"tests": len(tests), "passed_tests": passed, "failures": told[:SHOWN_FAILURES]}
        return self._verdict(passed / len(tests), not told, reason, details)

    async def _failures(self, code: str, tests: list[AssertTest | StdinTest]) -> list[str | None]:
        """What is wrong in each test, None where it passed. With the first error the other runs are cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._failure(code, test, number)) for number, test in enumerate(tests)]
        except* (UnusableRow, SandboxUnavailable) as errors:
            raised = errors.exceptions[0]
        else:
            return [task.result() for task in tasks]
        raise raised

    async def _failure(self, code: str, test: AssertTest | StdinTest, number: int) -> str | None:
        if isinstance(test, StdinTest):
            return await self._stdin_failure(code, test, number)
        word = secrets.token_hex(16)
        job = json.dumps({"word": word, "solution": code, "test": test.code})
        execution = await self._client.run(_HARNESS, job, files=self._harness)
        outcome, reason = _report(execution, word)
        if outcome == "unsupported":
            raise UnusableRow(f"test {number}: {reason}")
        if outcome == "started":
            return self._limit() if execution.timed_out else "the response ended the test before its report"
        return None if outcome == "passed" else reason

    async def _stdin_failure(self, code: str, test: StdinTest, number: int) -> str | None:
        if len(test.output.encode()) >= CAPTURED_BYTES:
            raise UnusableRow(
                f"test {number}: expects more output than the {CAPTURED_BYTES} bytes that the server keeps"
            )
        execution = await self._client.run(code, test.input)
        if execution.timed_out:
            return self._limit()
        if execution.return_code != 0:
            return f"ended with code {execution.return_code}: {_shown(execution.stderr[-SHOWN_CHARACTERS:])}"
        if not same_output(execution.stdout, test.output):
            return f"printed {_shown(execution.stdout)}, expected {_shown(test.output)}"
        return None

    def _limit(self) -> str:
        return f"over the limit of {self._settings.run_timeout_s:g} s of wall time"

    def _verdict(self, score: float | None, passed: bool | None, reason: str, details: dict[str, Any]) -> Verdict:
        return Verdict(score=score, passed=passed, reason=reason, source=self.name, details=details)


def _harness_files() -> dict[str, bytes]:
    """What the harness is made of, by its path in the sandbox."""
    inside = files("pangu_verl_sandboxfusion").joinpath("inside")
    return {
        f"pangu_verl_sandboxfusion/inside/{file.name}": file.read_bytes()
        for file in inside.iterdir()
        if file.name.endswith(".py")
    }


def _report(execution: Execution, word: str) -> tuple[str, str]:
    """Outcome and reason from the last line that the harness signed, which only it can."""
    signed = [line for line in execution.stdout.splitlines() if line.startswith(f"{word} ")]
    if not signed:
        raise SandboxUnavailable(f"the sandbox did not start the test: {_shown(execution.stderr[-SHOWN_CHARACTERS:])}")
    try:
        report = json.loads(signed[-1].removeprefix(word))
        return report["outcome"], report.get("reason", "")
    except ValueError:
        return "started", ""  # the line was cut off at the limit of output


def _shown(text: str) -> str:
    """A piece of foreign text, on one line and printable."""
    return ascii(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "...")
