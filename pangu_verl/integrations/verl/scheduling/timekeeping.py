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
    """Of the trainer. ``SAVING`` is a checkpoint, ``OTHER`` validation and what verl does between two steps."""

    WAITING = "waiting"
    COMPUTING = "computing"
    SAVING = "saving"
    PUBLISHING = "publishing"
    OTHER = "other"


class Timekeeper:
    """One run's; told by the trainer's thread (phases, ``consumed``) and by the feed's (``noted``).

    ``device_shares`` say which part of all devices the servers have, and the trainer; None where they take turns.
    """

    def __init__(
        self,
        path: Path,
        *,
        mode: str,
        policy: str,
        bound_versions: int,
        slots_per_replica: int,
        device_shares: tuple[float, float] | None,
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
        self._shares = device_shares
        self._counted_s = now_s
        self._seconds = dict.fromkeys(Phase, 0.0)
        self._tokens: Counter[str] = Counter()
        #: Of requests that made tokens, and of those that made none.
        self._request_s = {True: 0.0, False: 0.0}
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
                    self._request_s[notice.tokens > 0] += max(0.0, notice.ended_s - notice.began_s)

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
            self._count(now_s)
            self._phase, self._since_s = phase, now_s
            if left is Phase.WAITING:
                self._waited_from_s = since_s
            elif left is Phase.COMPUTING:
                self._writer.step(step, version, waited_from_s=self._waited_from_s, began_s=since_s, ended_s=now_s)
            elif left is Phase.PUBLISHING:
                self._writer.publication(version, since_s, now_s)

    def _count(self, now_s: float) -> None:
        """The present phase up to now."""
        self._seconds[self._phase] += max(0.0, now_s - self._counted_s)
        self._counted_s = now_s

    def metrics(self, servers: Collection[str]) -> dict[str, float]:
        """Since the last call: shares of the trainer's phases, and what share of the servers was idle and occupied."""
        with self._lock:
            now_s = self._clock()
            self._count(now_s)
            total_s = sum(self._seconds.values())
            found = {
                f"scheduler/trainer_{phase.value}_share": self._seconds[phase] / total_s if total_s else 0.0
                for phase in Phase
            }
            computing_s = self._seconds[Phase.COMPUTING]
            self._seconds = dict.fromkeys(Phase, 0.0)
            readings = self._replicas.read(now_s, servers)
            tokens, self._tokens = self._tokens, Counter()
            request_s, self._request_s = self._request_s, {True: 0.0, False: 0.0}
        found |= {f"scheduler/{name}_tokens/sum": float(number) for name, number in sorted(tokens.items())}
        kept = request_s[True] / (sum(request_s.values()) or 1.0)
        generating_s = [min(1.0, each.occupied_share) * kept * total_s for each in readings.values()]
        found |= self._of_the_ceiling(tokens, computing_s, total_s, generating_s)
        idle = {name: reading.idle_share for name, reading in readings.items()}
        occupied = {name: reading.occupied_share for name, reading in readings.items()}
        return found | _spread("idle", idle) | _spread("occupied", occupied)

    def _of_the_ceiling(
        self, tokens: Counter[str], computing_s: float, total_s: float, generating_s: Sequence[float]
    ) -> dict[str, float]:
        """``ceiling_share`` and ``fresh_token_share`` (design.md, "Time and shares").

        What devices that are never idle would have needed for the consumed tokens, at the rates that were measured, of
        the time taken. ``generating_s`` are seconds of each server with all slots taken by requests that made tokens.
        All consumed tokens count as natural length, so what was given up is work for nothing. Not where servers and
        trainer take turns: a request that waits for a server to wake looks like one that runs.
        """
        if self._shares is None or not (total_s and generating_s and tokens["generated"] and tokens["consumed"]):
            return {}
        rollout_share, trainer_share = self._shares
        generation_s = sum(generating_s) / len(generating_s) * tokens["consumed"] / tokens["generated"]
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
