"""Whatever a source does, what comes back is a verdict."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from judged_rows import MadeSource, row, verdict

from pangu_verl.mars.asking import ask
from pangu_verl.types import RewardRow, Verdict


def forged(**fields: Any) -> Verdict:
    """A verdict that its own checks never saw."""
    made = verdict(True, source="mine")
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ZeroDivisionError("first\nsecond"), "ZeroDivisionError: first"),
        (RecursionError(), "RecursionError: RecursionError"),
        (MemoryError(), "MemoryError: MemoryError"),
        (SystemExit(1), "SystemExit: 1"),
        (TimeoutError("x" * 1000), f"TimeoutError: {'x' * 200}"),
        (Unprintable(), "Unprintable: Unprintable"),
    ],
)
async def test_a_source_that_raises_has_not_judged(error: BaseException, said: str) -> None:
    def judge(_: RewardRow) -> Verdict:
        raise error

    found = await ask(MadeSource("mine", judge), row(), timeout_s=60)
    assert (found.score, found.passed) == (None, None)
    assert found.reason == f"reward source 'mine' raised {said}"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        1.0,
        {"score": 1.0},
        object(),
        Verdict,
        forged(score="1.0"),
        forged(score=[1.0]),
        forged(passed="yes"),
        forged(passed=1.0),
    ],
)
async def test_what_is_no_verdict_has_not_judged(answer: object) -> None:
    found = await ask(MadeSource("mine", lambda _: answer), row())
    assert (found.score, found.passed, found.source) == (None, None, "mine")
    assert found.reason.startswith("reward source 'mine' returned ")


@pytest.mark.parametrize("fields", [{"details": None}, {"details": "text"}, {"reason": None}, {"source": None}])
async def test_a_verdict_that_is_only_untidy_counts(fields: dict[str, Any]) -> None:
    found = await ask(MadeSource("mine", lambda _: forged(**fields)), row())
    assert (found.score, found.passed, found.source, type(found.reason)) == (1.0, True, "mine", str)


async def test_correctness_without_a_score_is_no_judgement() -> None:
    assert (await ask(MadeSource("mine", lambda _: forged(score=None)), row())).passed is None


async def test_a_source_that_hangs_is_left_at_its_time() -> None:
    found = await ask(Hanging("mine", lambda _: None), row(), timeout_s=0.01)
    assert found.reason == "reward source 'mine' gave no verdict within 0.01 s"


class Hanging(MadeSource):
    async def judge(self, row: RewardRow) -> Verdict:
        await asyncio.Event().wait()
        raise AssertionError


async def test_being_cancelled_is_passed_on() -> None:
    task = asyncio.ensure_future(ask(Hanging("mine", lambda _: None), row()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_source_whose_own_work_was_cancelled_has_not_judged() -> None:
    def judge(_: RewardRow) -> Verdict:
        raise asyncio.CancelledError

    found = await ask(MadeSource("mine", judge), row())
    assert (found.score, found.reason) == (None, "reward source 'mine' cancelled its own work")
