"""The paced replicas behind one of verl's servers, on asyncio's clock.

A server of verl's is one replica, or several where servers and trainer share devices and verl knows a single worker;
requests then go to the replica with the fewest, as verl's balancer has it. Invariant: one timer, set for the next end;
nothing ticks. Tokens, lengths and weights are not its matter.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from pangu_verl_paced.pacing import Pacing
from pangu_verl_paced.replicas import Attempt, PacedReplica


class Fleet:
    """Used from the event loop's thread alone."""

    def __init__(self, replicas: Sequence[PacedReplica], pacing: Pacing) -> None:
        self._replicas = replicas
        self._pacing = pacing
        self._futures: dict[Attempt, tuple[asyncio.Future[None], PacedReplica]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rejects = False

    @property
    def version(self) -> int:
        return self._replicas[0].version

    @property
    def busy_slot_s(self) -> float:
        """Slot-seconds of the played cluster that were spent on decoding."""
        self._advance()
        return sum(replica.decoding.busy_slot_s for replica in self._replicas)

    async def run(self, attempt: Attempt) -> None:
        """Returns when ``attempt`` is complete or was interrupted."""
        if self._rejects:
            return
        self._advance()
        replica = min(self._replicas, key=lambda replica: replica.num_requests)
        future = asyncio.get_running_loop().create_future()
        self._futures[attempt] = future, replica
        replica.submit(attempt, self._now_s())
        self._set_timer()
        await future

    def stop(self, attempt: Attempt) -> None:
        """Interrupt this one, if it is not complete by now."""
        self._advance()
        if attempt in self._futures:
            self._futures[attempt][1].abort(attempt, self._now_s())
            self._settle([attempt])
            self._set_timer()

    def pause(self, *, reject: bool) -> int:
        """Interrupt all; what comes later waits for ``resume``, or with ``reject`` ends with no token."""
        self._advance()
        self._rejects = reject
        stopped = [attempt for replica in self._replicas for attempt in replica.pause(self._now_s())]
        self._settle(stopped)
        return len(stopped)

    def resume(self) -> None:
        self._rejects = False
        for replica in self._replicas:
            replica.resume(self._now_s())
        self._set_timer()

    def publish(self, version: int) -> None:
        """What begins to decode from now on is made by ``version``."""
        self._advance()
        for replica in self._replicas:
            replica.version = version

    def _advance(self) -> None:
        now_s = self._now_s()
        for replica in self._replicas:
            self._settle(replica.advance(now_s))

    def _settle(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            future, _ = self._futures.pop(attempt)
            # Its caller may have been cancelled.
            if not future.done():
                future.set_result(None)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        end_s = min(replica.next_end_s() for replica in self._replicas)
        if end_s < math.inf:
            delay_s = self._pacing.wall_s(end_s - self._now_s())
            self._timer = asyncio.get_running_loop().call_later(max(0.0, delay_s), self._ring)

    def _ring(self) -> None:
        self._advance()
        self._set_timer()

    def _now_s(self) -> float:
        return self._pacing.played_s(time.monotonic())
