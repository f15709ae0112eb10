"""The replicas together: which of them takes the next trajectory, and when the next one ends.

Invariant: a trajectory goes to a replica that is up and has a free slot, of those to one with the fewest running (as
verl's and other balancers do), the lowest index first. Late binding: who has no slot waits with the caller.
"""

from __future__ import annotations

import heapq
import math

from pangu_verl.queue.entries import Segment
from pangu_verl.simulate.cluster import Cluster
from pangu_verl.simulate.replicas import Replica, Request, Stage


class Fleet:
    """``num_replicas`` replicas of a cluster, all up and idle, with ``version``. Times are seconds of simulation."""

    def __init__(self, cluster: Cluster, num_replicas: int, version: int = 0) -> None:
        rates = cluster.decode_rates()
        self._slots_per_replica = cluster.slots_per_replica
        self.replicas = [Replica(index, rates, cluster.prefill_tokens_per_s, version) for index in range(num_replicas)]
        self.free_slots = self._slots_per_replica * num_replicas
        #: (running, index); an entry that is not true any more is passed over.
        self._by_load = [(0, index) for index in range(num_replicas)]
        #: (time, index) of the next end on each replica; an entry is true while ``_told_s`` says the same.
        self._ends: list[tuple[float, int]] = []
        self._told_s = [math.inf] * num_replicas

    @property
    def slots(self) -> int:
        return self._slots_per_replica * len(self.replicas)

    @property
    def running(self) -> int:
        return sum(replica.running for replica in self.replicas)

    def busy_slot_s(self, now_s: float) -> float:
        """Seconds that slots have spent on decoding so far, summed over slots."""
        for replica in self.replicas:
            replica.advance(now_s)
        return sum(replica.busy_slot_s for replica in self.replicas)

    def start(self, request: Request, now_s: float) -> None:
        """Give a trajectory a slot, of which ``free_slots`` says there is one."""
        while True:
            running, index = heapq.heappop(self._by_load)
            replica = self.replicas[index]
            if replica.is_up and replica.running == running:
                break
        replica.start(request, now_s)
        self.free_slots -= 1
        self._note(replica)

    def next_end_s(self) -> float:
        """When the next trajectory ends; infinite where none runs."""
        while self._ends and self._ends[0][0] != self._told_s[self._ends[0][1]]:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else math.inf

    def end(self, now_s: float) -> tuple[Request, tuple[Segment, ...]]:
        """The trajectory whose end ``next_end_s`` foretold, and its segments."""
        replica = self.replicas[self._ends[0][1]]
        ended = replica.end(now_s)
        # A slot of a replica that is down is none.
        self.free_slots += 1
        self._note(replica)
        return ended

    def abort(self, request: Request, now_s: float) -> int:
        """Give up a request, running or queued; returns the tokens that were made of it for nothing."""
        replica = request.replica
        if replica is None or request.stage is not Stage.RUNNING:
            request.stage = Stage.ABORTED
            return 0
        made_tokens = replica.abort(request, now_s)
        if replica.is_up:
            self.free_slots += 1
        self._note(replica)
        return made_tokens

    def pause(self, until_s: float, now_s: float) -> None:
        for replica in self.replicas:
            replica.pause(until_s, now_s)
            self._note(replica)

    def publish(self, now_s: float) -> None:
        for replica in self.replicas:
            replica.publish(now_s)
            self._note(replica)

    def fail(self, index: int, now_s: float) -> list[Request]:
        """A replica goes down; returns the trajectories that it was running, which the caller aborts."""
        replica = self.replicas[index]
        self.free_slots -= self._slots_per_replica - replica.running
        return replica.fail(now_s)

    def restart(self, index: int) -> None:
        """A replica is back, idle, with the present weights."""
        replica = self.replicas[index]
        replica.is_up = True
        self.free_slots += self._slots_per_replica
        self._note(replica)

    def _note(self, replica: Replica) -> None:
        if replica.is_up and replica.running < self._slots_per_replica:
            heapq.heappush(self._by_load, (replica.running, replica.index))
        end_s = replica.next_end_s()
        if end_s != self._told_s[replica.index]:
            self._told_s[replica.index] = end_s
            if end_s < math.inf:
                heapq.heappush(self._ends, (end_s, replica.index))
