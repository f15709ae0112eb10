"""The records of the queue: prompt groups, the trajectories that they gather, and the versions that made each token.

Invariant: a group's ``order`` is its place in admission and never changes, whatever becomes of it; ``attempt`` counts
how often its generation was begun anew, for whatever reason, and ``evictions`` how often because the staleness policy
gave it up. These are data: what may happen to a group is decided by ``pangu_verl.scheduler``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple


class State(IntEnum):
    """Where a group is. The numbers are stored in ledgers: they never change their meaning."""

    #: Admitted; no request of its present attempt has been sent.
    WAITING = 0
    #: Leased to rollout; some of its trajectories are still being made.
    RUNNING = 1
    #: Every trajectory is there; nothing has trained on it.
    READY = 2
    #: Given to a training step.
    CONSUMED = 3
    #: Given up after failures, with a reason. Counted, never silent.
    ABANDONED = 4


#: Why a group is generated anew when its staleness policy gave it up: the reason that counts as an eviction.
EVICTED = "evicted"

#: The states in which a group still has to reach training.
LIVE_STATES = (State.WAITING, State.RUNNING, State.READY)


class Segment(NamedTuple):
    """Tokens of one trajectory made under one policy version.

    ``version`` is the smaller of the server's version at submission and at return, so a token is never taken for
    fresher than it is.
    """

    version: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A finished response: its segments in the order of generation, and its reward where one is known."""

    segments: tuple[Segment, ...]
    reward: float | None = None

    @property
    def tokens(self) -> int:
        return sum(segment.tokens for segment in self.segments)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """What is asked to be admitted: one group to be.

    ``key`` names it for ever in its run (no underscore: verl parses keys by it). ``row`` is where the data loader found
    it. ``expected_tokens`` and ``pass_rate`` (0..1) are estimates from the past, None where there is none.
    """

    key: str
    task: str
    trajectories: int
    row: int | None = None
    expected_tokens: float | None = None
    pass_rate: float | None = None


@dataclass(slots=True)
class Group:
    """A prompt that was admitted, with what has come of it so far.

    ``started_version`` is the version at which its oldest request was sent (None while it waits): no token of it is
    older. ``finished`` holds the trajectories that are there, by member number 0..trajectories-1.
    """

    prompt: Prompt
    order: int
    admitted_version: int
    state: State = State.WAITING
    started_version: int | None = None
    attempt: int = 0
    evictions: int = 0
    finished: dict[int, Trajectory] = field(default_factory=dict)
    consumed_step: int | None = None

    @property
    def key(self) -> str:
        return self.prompt.key

    @property
    def task(self) -> str:
        return self.prompt.task

    @property
    def missing(self) -> int:
        """Trajectories that have not arrived."""
        return self.prompt.trajectories - len(self.finished)
