"""One pool of warm processes for all tests of this folder, and a way to judge a program by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pangu_verl.mars.code.pool import SandboxPool
from pangu_verl.mars.code.source import CodeSource
from pangu_verl.types import RewardRow, Verdict

Judge = Callable[..., Verdict]


def judged_by(source: CodeSource, code: str, *tests: Any, **extra: Any) -> Verdict:
    answer = f"````python\n{code}\n````"
    row = RewardRow(id="1", domain="code", question="", response=answer, answer=answer, tests=tests, extra=extra)
    return asyncio.run(source.judge(row))


@pytest.fixture(scope="session")
def pool() -> Iterator[SandboxPool]:
    pool = SandboxPool(slots=1)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def judge(pool: SandboxPool) -> Judge:
    source = CodeSource(pool=pool)
    return lambda code, *tests, **extra: judged_by(source, code, *tests, **extra)


@pytest.fixture
def judge_without() -> Iterator[Judge]:
    """Judges in a sandbox that lacks the layers named first, and the control group that stands behind the limits."""
    sources: list[CodeSource] = []

    def judge(without: tuple[str, ...], code: str, *tests: Any, **extra: Any) -> Verdict:
        sources.append(
            CodeSource(pool=SandboxPool(slots=1, without=(*without, "control_group")), accept_unguarded=True)
        )
        return judged_by(sources[-1], code, *tests, **extra)

    yield judge
    for source in sources:
        source.close()
