"""A paced replica: a bounded number of requests decode at a time, at the rate of the curve; others wait.

The clock is the simulator's (``pangu_verl.simulate.replicas``): all requests of a replica decode alike, by how many
there are. Invariants: never more requests decode than there are slots; who waits longest of the lowest priority comes
next, at the very moment at which a slot falls free, however late ``advance`` is called; an attempt belongs to the
version that was held when it began to decode. Times are seconds of the cluster that is played. Nothing sleeps here.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from itertools import count

from pangu_verl.simulate.replicas import Replica, Request, Stage


@dataclass(slots=True, eq=False)
class Attempt(Request):
    """One attempt at a request. ``tokens`` are left to be made, ``made_tokens`` were, by policy ``version``."""

    priority: int = 0
    made_tokens: int = 0
    #: None until it begins to decode.
    version: int | None = None

    @property
    def is_complete(self) -> bool:
        return self.made_tokens == self.tokens


@dataclass(slots=True, eq=False)
class PacedReplica:
    """``slots`` of one replica."""

    decoding: Replica
    slots: int
    version: int = 0
    is_paused: bool = False
    _waiting: list[tuple[int, int, Attempt]] = field(default_factory=list)
    _running: dict[Attempt, None] = field(default_factory=dict)
    _serials: count[int] = field(default_factory=count)

    @property
    def num_requests(self) -> int:
        """Those that decode and those that wait."""
        return len(self._running) + len(self._waiting)

    def submit(self, attempt: Attempt, now_s: float) -> None:
        """Lower priorities come first. ``advance`` first: what has ended by now may leave a slot."""
        heapq.heappush(self._waiting, (attempt.priority, next(self._serials), attempt))
        self._fill(now_s)

    def advance(self, now_s: float) -> list[Attempt]:
        """Those that have ended by now, in that order."""
        ended = []
        while (end_s := self.next_end_s()) <= now_s:
            attempt, _ = self.decoding.end(end_s)
            assert isinstance(attempt, Attempt)
            attempt.made_tokens = attempt.tokens
            del self._running[attempt]
            ended.append(attempt)
            self._fill(end_s)
        self.decoding.advance(now_s)
        return ended

    def next_end_s(self) -> float:
        """When the next one ends, infinite if none decodes."""
        return self.decoding.next_end_s() if self._running else math.inf

    def pause(self, now_s: float) -> list[Attempt]:
        """Stop all that decodes or waits, with the tokens that they have; nothing begins until ``resume``."""
        self.is_paused = True
        return [*self._stop(list(self._running), now_s), *self._drop_waiting()]

    def resume(self, now_s: float) -> None:
        self.is_paused = False
        self.decoding.advance(now_s)
        self._fill(now_s)

    def abort(self, attempt: Attempt, now_s: float) -> None:
        """Stop one, whether it decodes or waits."""
        if attempt in self._running:
            self._stop([attempt], now_s)
        attempt.stage = Stage.ABORTED
        self._waiting = [entry for entry in self._waiting if entry[2] is not attempt]
        heapq.heapify(self._waiting)
        self._fill(now_s)

    def _stop(self, attempts: list[Attempt], now_s: float) -> list[Attempt]:
        for attempt in attempts:
            attempt.made_tokens = self.decoding.abort(attempt, now_s)
            del self._running[attempt]
        return attempts

    def _drop_waiting(self) -> list[Attempt]:
        dropped = [attempt for _, _, attempt in sorted(self._waiting)]
        self._waiting = []
        for attempt in dropped:
            attempt.stage = Stage.ABORTED
        return dropped

    def _fill(self, now_s: float) -> None:
        while self._waiting and len(self._running) < self.slots and not self.is_paused:
            attempt = heapq.heappop(self._waiting)[2]
            attempt.version = self.version
            self._running[attempt] = None
            self.decoding.start(attempt, now_s)
