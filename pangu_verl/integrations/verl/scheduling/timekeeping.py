"""Where the time of a run goes: what the trainer does, what each server does, as a record and as shares of each step.

Invariants: the trainer is in one phase at a time, and phases follow each other without a gap; a request counts as
running from the moment it goes to a server until it is back, as its client's clock has it. The record is
``timeline.jsonl`` in the run's folder; the shares are those of ``scheduler.idle``. Hosts whose clocks differ shift each
other's requests, and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path

import numpy as np

from pangu_verl.integrations.verl.scheduling.rollout.notices import Began, Ended, Notice
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.idle import ReplicaClock
from pangu_verl.scheduler.timeline import TimelineWriter

#: With more replicas than this the metrics hold least, mean and most alone; the timeline has them all.
MOST_REPLICAS_NAMED = 32


class Phase(Enum):
    """Of the trainer. ``OTHER`` is validation, and what verl does between two steps."""

    WAITING = "waiting"
    COMPUTING = "computing"
    PUBLISHING = "publishing"
    OTHER = "other"


class Timekeeper:
    """One run's; told by the trainer's thread (phases, ``consumed``) and by the feed's (``noted``).

    ``rollout_share`` and ``trainer_share`` say which part of all devices the servers have, and the trainer: together
    1, or each 1 where they take turns.
    """

    def __init__(
        self,
        path: Path,
        *,
        mode: str,
        policy: str,
        bound_versions: int,
        slots_per_replica: int,
        rollout_share: float,
        trainer_share: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        now_s = clock()
        self._writer = TimelineWriter(path)
        self._writer.run(
            at_s=now_s, mode=mode, policy=policy, bound_versions=bound_versions, slots_per_replica=slots_per_replica
        )
        self._replicas = ReplicaClock(slots_per_replica=slots_per_replica, from_s=now_s)
        self._shares = (rollout_share, trainer_share)
        self._seconds = dict.fromkeys(Phase, 0.0)
        self._tokens: Counter[str] = Counter()
        self._phase, self._since_s = Phase.OTHER, now_s
        self._waited_from_s = now_s

    def close(self) -> None:
        with self._lock:
            self._writer.close()

    def noted(self, notices: Iterable[Notice]) -> None:
        """What clients told of their requests."""
        with self._lock:
            for notice in notices:
                if isinstance(notice, Began):
                    self._replicas.began(notice.replica, notice.at_s)
                elif isinstance(notice, Ended):
                    self._replicas.ended(notice.replica, notice.ended_s)
                    self._writer.attempt(*notice)
                    self._tokens["generated"] += notice.tokens

    def consumed(self, batch: Batch) -> None:
        """A step trains on these."""
        trained_tokens = sum(entry.trained_tokens for entry in batch.groups)
        with self._lock:
            self._tokens["trained"] += trained_tokens
            self._tokens["consumed"] += trained_tokens + sum(sum(entry.masked_tokens) for entry in batch.groups)

    def enters(self, phase: Phase, *, step: int, version: int) -> None:
        """The trainer goes from one phase to the next; ``step`` (from 1) and ``version`` are of what it leaves."""
        with self._lock:
            now_s = self._clock()
            left, since_s = self._phase, self._since_s
            self._seconds[left] += max(0.0, now_s - since_s)
            self._phase, self._since_s = phase, now_s
            if left is Phase.WAITING:
                self._waited_from_s = since_s
            elif left is Phase.COMPUTING:
                self._writer.step(step, version, waited_from_s=self._waited_from_s, began_s=since_s, ended_s=now_s)
            elif left is Phase.PUBLISHING:
                self._writer.publication(version, since_s, now_s)

    def metrics(self, servers: Collection[str]) -> dict[str, float]:
        """Since the last call: shares of the trainer's phases, and what share of the servers was idle and occupied."""
        with self._lock:
            total_s = sum(self._seconds.values())
            found = {
                f"scheduler/trainer_{phase.value}_share": self._seconds[phase] / total_s if total_s else 0.0
                for phase in Phase
            }
            computing_s = self._seconds[Phase.COMPUTING]
            self._seconds = dict.fromkeys(Phase, 0.0)
            readings = self._replicas.read(self._clock(), servers)
            tokens, self._tokens = self._tokens, Counter()
        found |= {f"scheduler/{name}_tokens/sum": float(number) for name, number in sorted(tokens.items())}
        found |= self._of_the_ceiling(tokens, computing_s, total_s, [each.occupied_share for each in readings.values()])
        idle = {name: reading.idle_share for name, reading in readings.items()}
        occupied = {name: reading.occupied_share for name, reading in readings.items()}
        return found | _spread("idle", idle) | _spread("occupied", occupied)

    def _of_the_ceiling(
        self, tokens: Mapping[str, int], computing_s: float, total_s: float, occupied_shares: Sequence[float]
    ) -> dict[str, float]:
        """``ceiling_share`` and ``fresh_token_share`` (design.md, "Time and shares").

        What devices that are never idle would have needed for the consumed tokens, at the rates that were measured, of
        the time taken. All consumed tokens count as natural length, so what was given up is work for nothing.
        """
        if not (total_s and tokens.get("generated") and tokens.get("consumed")):
            return {}
        rollout_share, trainer_share = self._shares
        generation_s = sum(occupied_shares) / len(occupied_shares) * total_s * tokens["consumed"] / tokens["generated"]
        ceiling = (generation_s * rollout_share + computing_s * trainer_share) / total_s
        return {
            "scheduler/ceiling_share": ceiling,
            "scheduler/fresh_token_share": ceiling * tokens["trained"] / tokens["consumed"],
        }


def _spread(what: str, by_replica: Mapping[str, float]) -> dict[str, float]:
    if not by_replica:
        return {}
    shares = list(by_replica.values())
    found = {
        f"scheduler/replica_{what}_share/mean": float(np.mean(shares)),
        f"scheduler/replica_{what}_share/min": min(shares),
        f"scheduler/replica_{what}_share/max": max(shares),
    }
    if len(by_replica) <= MOST_REPLICAS_NAMED:
        found |= {f"scheduler/replica_{what}_share/{name}": share for name, share in by_replica.items()}
    return found
