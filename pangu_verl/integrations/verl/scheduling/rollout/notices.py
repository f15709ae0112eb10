"""What agent loops and clients tell the trainer's process, as it happens: TransferQueue itself tells nobody.

One actor a run holds what was posted until the feed takes it. Invariants: posting never waits and is never answered;
what was posted comes out once, in the order in which it came in. A notice is no truth: what has ended is looked up in
TransferQueue, and a lost notice costs a moment.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, NamedTuple

import ray

MAILBOX_NAME = "pangu_notices"


class Began(NamedTuple):
    """A request went to a server."""

    replica: str
    at_s: float


class Ended(NamedTuple):
    """A request came back, after ``tokens`` tokens of policy version ``version`` (None: it made none)."""

    replica: str
    version: int | None
    tokens: int
    began_s: float
    ended_s: float


class Settled(NamedTuple):
    """A session of this generation, or all of it, has come to its end."""

    uid: str


Notice = Began | Ended | Settled


class Mailbox:
    """What the actor is. Has one reader."""

    def __init__(self) -> None:
        self._notices: list[Notice] = []
        self._changed = asyncio.Event()

    async def post(self, notice: Notice) -> None:
        self._notices.append(notice)
        self._changed.set()

    async def take(self, timeout_s: float) -> list[Notice]:
        """All that was posted since; waits up to ``timeout_s`` for the first."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        taken, self._notices = self._notices, []
        self._changed.clear()
        return taken


def start_mailbox() -> ray.actor.ActorHandle:
    """It lives as long as somebody holds it."""
    actor: Any = ray.remote(Mailbox)
    return actor.options(name=MAILBOX_NAME, num_cpus=0, max_concurrency=1000).remote()
