"""What judges rows outside training: the plugins' sources as ladders, the auxiliary terms, and many rows at a time.

Invariants: ladders and composition are those of training, with default options, every registered term and nothing
measured; verdicts come in the order of their rows; at most
``MOST_IN_FLIGHT`` rows are held, so a slow row holds back its followers and never lets them pile up; ``close`` leaves
no process of a source behind.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from pangu_verl.errors import WrongUse
from pangu_verl.mars.asking import unjudged
from pangu_verl.mars.dispatch import ladders
from pangu_verl.mars.ladder import Judged, Ladder
from pangu_verl.plugins import load_plugins
from pangu_verl.rewards.rows import DOMAINS
from pangu_verl.types import AuxiliaryTerm, RewardRow

#: Rows between reading and writing. A judge behind an endpoint has work for 32 or so; a slow program holds up the rest.
MOST_IN_FLIGHT = 128
#: The source of a row that no source is there for.
NOBODY = "none"

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, slots=True)
class Judges:
    """The ladder of each domain that some source judges, and the terms that apply to every row."""

    ladders: Mapping[str, Ladder]
    terms: Sequence[AuxiliaryTerm] = ()

    @property
    def domains(self) -> frozenset[str]:
        """What a row may name as its domain; nobody may be there for those of the row format."""
        return DOMAINS | self.ladders.keys()

    async def judge(self, row: RewardRow) -> Judged:
        """Correctness of one row. Raises nothing."""
        ladder = self.ladders.get(row.domain)
        if ladder is not None:
            return await ladder.judge(row)
        known = ", ".join(sorted(self.ladders)) or "none"
        reason = (
            f"no reward source for domain {row.domain!r} (known: {known}); is its plugin installed? "
            "run pangu-verl rewards list"
        )
        return Judged(verdict=unjudged(NOBODY, reason))

    async def close(self) -> None:
        """End what the sources have started. ``close`` of a source is optional, and may be a coroutine."""
        sources = {id(source): source for ladder in self.ladders.values() for source in ladder.rungs}
        for source in sources.values():
            if (close := getattr(source, "close", None)) is not None:
                closing = close()
                if inspect.isawaitable(closing):
                    await closing


def load_judges(sources: str | None) -> Judges:
    """The judges of the installed plugins; ``sources`` are names in order, separated by commas, None for all."""
    plugins = load_plugins()
    plugins.require()
    chosen = None if sources is None else [name.strip() for name in sources.split(",") if name.strip()]
    if chosen == []:
        raise WrongUse("--sources names no reward source; see pangu-verl rewards list, or leave it out for all")
    try:
        found = ladders(plugins.reward_sources, chosen)
    except WrongUse as error:
        raise WrongUse(f"{error} (on the command line: --sources a,b)") from None
    return Judges(ladders=found, terms=list(plugins.auxiliary_terms.values()))


async def judge_all(
    judges: Judges,
    rows: Iterable[Given],
    work: Callable[[Given], Awaitable[Made]],
    take: Callable[[Made], None],
) -> None:
    """Hand ``take`` what ``work`` makes of each row, in the order of ``rows``; then close the judges."""
    try:
        async with aclosing(in_order(rows, work)) as results:
            async for result in results:
                take(result)
    finally:
        await judges.close()


async def in_order(
    rows: Iterable[Given], work: Callable[[Given], Awaitable[Made]], *, most_in_flight: int = MOST_IN_FLIGHT
) -> AsyncGenerator[Made]:
    """``work`` of many rows at a time, in the order of ``rows``. Close it, or exhaust it."""

    async def made(row: Given) -> Made:
        return await work(row)

    window: deque[asyncio.Task[Made]] = deque()
    try:
        for row in rows:
            window.append(asyncio.create_task(made(row)))
            if len(window) >= most_in_flight:
                yield await window.popleft()
        while window:
            yield await window.popleft()
    finally:
        for task in window:
            task.cancel()
        await asyncio.gather(*window, return_exceptions=True)
