"""Rollout replicas as shared processors: how far each trajectory is, and under which version each token was made.

All trajectories of a replica decode at the same rate, so one number says how far they all are: the replica's progress,
the integral of the rate over time. A trajectory ends when the progress has grown by its tokens. Invariants: progress
never shrinks; it stands still while the replica prefills, takes weights or is down; the progress at each publication
is kept, and a token that had been begun by then belongs to the old version, so none is taken for fresher than it is.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count

from pangu_verl.queue.entries import Segment


class Stage(IntEnum):
    """Where a request is."""

    QUEUED = 0
    RUNNING = 1
    ENDED = 2
    #: Given up: whoever finds it passes it over.
    ABORTED = 3


@dataclass(slots=True, eq=False)
class Request:
    """One trajectory to be made: member ``member`` of the group ``key`` in its ``attempt``."""

    key: str
    member: int
    attempt: int
    tokens: int
    prompt_tokens: int
    reward: float | None = None
    stage: Stage = Stage.QUEUED
    replica: Replica | None = None
    start_progress: float = 0.0
    start_version: int = 0


@dataclass(slots=True, eq=False)
class Replica:
    """One replica. ``decode_rates`` are tokens/s of one trajectory by how many run; times are seconds of simulation."""

    index: int
    decode_rates: list[float]
    prefill_tokens_per_s: float | None
    #: The policy version that it begins with.
    first_version: int = 0
    is_up: bool = True
    #: Trajectories that run.
    running: int = 0
    #: Trajectory-seconds of decoding so far.
    busy_slot_s: float = 0.0
    _progress: float = 0.0
    _told_s: float = 0.0
    _blocked_until_s: float = 0.0
    #: Progress when each version after the first appeared.
    _publications: list[float] = field(default_factory=list)
    _ends: list[tuple[float, int, Request]] = field(default_factory=list)
    _serials: count[int] = field(default_factory=count)

    def start(self, request: Request, now_s: float) -> None:
        """Begin a trajectory, which takes one slot and, first, the prefill of its prompt."""
        self.advance(now_s)
        request.stage = Stage.RUNNING
        request.replica = self
        request.start_progress = self._progress
        request.start_version = self._version
        self.running += 1
        heapq.heappush(self._ends, (self._progress + request.tokens, next(self._serials), request))
        self._prefill(request.prompt_tokens, now_s)

    def next_end_s(self) -> float:
        """When the next trajectory ends if nothing else happens; infinite where none runs."""
        self._forget_aborted()
        if not self._ends:
            return math.inf
        left_tokens = self._ends[0][0] - self._progress
        return max(self._told_s, self._blocked_until_s) + max(0.0, left_tokens) / self.decode_rates[self.running]

    def end(self, now_s: float) -> tuple[Request, tuple[Segment, ...]]:
        """The trajectory whose end ``next_end_s`` foretold, and its segments."""
        self.advance(now_s)
        end_progress, _, request = heapq.heappop(self._ends)
        # What was computed as time and back as tokens may differ in the last bit.
        self._progress = max(self._progress, end_progress)
        self.running -= 1
        request.stage = Stage.ENDED
        return request, self._segments(request, request.tokens)

    def abort(self, request: Request, now_s: float) -> int:
        """Give a running trajectory up; returns the tokens that were made of it for nothing."""
        self.advance(now_s)
        request.stage = Stage.ABORTED
        self.running -= 1
        return self._made_tokens(request)

    def publish(self, now_s: float) -> None:
        """New weights are there: what is made from now on has the next version, once contexts are rebuilt."""
        self.advance(now_s)
        self._publications.append(self._progress)
        self._forget_aborted()
        if self.prefill_tokens_per_s is not None:
            for _, _, request in self._ends:
                if request.stage is Stage.RUNNING:
                    self._prefill(request.prompt_tokens + self._made_tokens(request), now_s)

    def pause(self, until_s: float, now_s: float) -> None:
        """Stand still until then."""
        self.advance(now_s)
        self._blocked_until_s = max(self._blocked_until_s, until_s)

    def fail(self, now_s: float) -> list[Request]:
        """Go down; returns the trajectories that are lost with it, which the caller aborts."""
        self.advance(now_s)
        self.is_up = False
        return [request for _, _, request in self._ends if request.stage is Stage.RUNNING]

    def advance(self, now_s: float) -> None:
        """Let time pass until then; everything else does so first."""
        # Time before the pause is over makes no progress, so a pause has to be over before it can be forgotten.
        decoding_s = now_s - max(self._told_s, self._blocked_until_s)
        if decoding_s > 0 and self.running:
            self._progress += decoding_s * self.decode_rates[self.running]
            self.busy_slot_s += decoding_s * self.running
        self._told_s = now_s

    @property
    def _version(self) -> int:
        return self.first_version + len(self._publications)

    def _prefill(self, tokens: int, now_s: float) -> None:
        if tokens and self.prefill_tokens_per_s is not None:
            self._blocked_until_s = max(self._blocked_until_s, now_s) + tokens / self.prefill_tokens_per_s

    def _made_tokens(self, request: Request) -> int:
        return min(request.tokens, math.ceil(self._progress - request.start_progress))

    def _segments(self, request: Request, tokens: int) -> tuple[Segment, ...]:
        segments = []
        done = 0
        for version in range(request.start_version, self._version):
            published = self._publications[version - self.first_version]
            until = min(tokens, math.ceil(published - request.start_progress))
            if until > done:
                segments.append(Segment(version, until - done))
                done = until
        if tokens > done:
            segments.append(Segment(self._version, tokens - done))
        return tuple(segments)

    def _forget_aborted(self) -> None:
        while self._ends and self._ends[0][2].stage is Stage.ABORTED:
            heapq.heappop(self._ends)
