"""How much of the time trainer and servers were idle: shares weighted by time, from what began and ended when.

``trainer_shares`` and ``replica_shares`` sweep what a timeline holds; ``ReplicaClock`` is told as it happens and comes
to the same. Invariants: intervals may come in any order and overlap; a window in which no time passes has no shares
(NaN, or no reading), never 0. All times are seconds on one clock; nothing here reads one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Intervals(NamedTuple):
    """When things began and ended, one element each; no end lies before its beginning."""

    began_s: Floats
    ended_s: Floats

    def merged(self) -> Intervals:
        """The times in which there was at least one, in order and apart."""
        if not len(self.began_s):
            return self
        order = np.argsort(self.began_s, kind="stable")
        began_s, latest_s = self.began_s[order], np.maximum.accumulate(self.ended_s[order])
        opens = np.concatenate([[True], began_s[1:] > latest_s[:-1]])
        closes = np.concatenate([opens[1:], [True]])
        return Intervals(began_s[opens], latest_s[closes])

    def joined(self, other: Intervals) -> Intervals:
        """Those of both."""
        return Intervals(np.concatenate([self.began_s, other.began_s]), np.concatenate([self.ended_s, other.ended_s]))

    def seconds_between(self, edges_s: ArrayLike) -> Floats:
        """Seconds of all of them in each window between two neighbouring edges, which rise; overlaps count each."""
        edges = np.asarray(edges_s, dtype=np.float64)
        origin_s = edges[0]  # near 0 sums lose no digits
        until = _seconds_since(self.began_s - origin_s, edges - origin_s)
        until -= _seconds_since(self.ended_s - origin_s, edges - origin_s)
        return np.diff(until)


class TrainerShares(NamedTuple):
    """Of each window; they sum to 1. ``idle`` is waiting and nothing at all; ``publication`` what computing leaves."""

    computing: Floats
    publication: Floats
    idle: Floats


class ReplicaShares(NamedTuple):
    """Of each window; the first three sum to 1. ``running``: at least one request; ``publication`` what that leaves.

    ``occupied``: mean of requests that ran / slots; above 1 where requests waited at the server.
    """

    running: Floats
    publication: Floats
    idle: Floats
    occupied: Floats


def trainer_shares(edges_s: ArrayLike, computing: Intervals, publications: Intervals) -> TrainerShares:
    """Of the windows between the edges, which rise."""
    widths_s = _widths_s(edges_s)
    computing_s = computing.merged().seconds_between(edges_s)
    busy_s = computing.joined(publications).merged().seconds_between(edges_s)
    return TrainerShares(
        computing=_share(computing_s, widths_s),
        publication=_share(busy_s - computing_s, widths_s),
        idle=_share(widths_s - busy_s, widths_s),
    )


def replica_shares(edges_s: ArrayLike, requests: Intervals, publications: Intervals, slots: ArrayLike) -> ReplicaShares:
    """Of the windows between the edges, which rise; ``slots`` of all windows or of each."""
    widths_s = _widths_s(edges_s)
    running = requests.merged()
    running_s = running.seconds_between(edges_s)
    either_s = running.joined(publications).merged().seconds_between(edges_s)
    return ReplicaShares(
        running=_share(running_s, widths_s),
        publication=_share(either_s - running_s, widths_s),
        idle=_share(widths_s - either_s, widths_s),
        occupied=requests.seconds_between(edges_s) / (widths_s * np.asarray(slots)),
    )


def _seconds_since(moments_s: Floats, edges_s: Floats) -> Floats:
    """At each edge the sum, over the moments before it, of the seconds since."""
    moments_s = np.sort(moments_s)
    sums_s = np.concatenate([[0.0], np.cumsum(moments_s)])
    before = np.searchsorted(moments_s, edges_s)
    passed_s: Floats = before * edges_s - sums_s[before]
    return passed_s


def _widths_s(edges_s: ArrayLike) -> Floats:
    """NaN where no time passes."""
    widths_s = np.diff(np.asarray(edges_s, dtype=np.float64))
    return np.where(widths_s > 0, widths_s, np.nan)


def _share(seconds: Floats, widths_s: Floats) -> Floats:
    """What rounding leaves below 0 or above 1 is cut."""
    return np.clip(seconds / widths_s, 0.0, 1.0)


class ReplicaReading(NamedTuple):
    """Of the time since the last reading: the share in which no request ran, and the mean of requests / slots.

    The clock is not told of publications, so they are part of ``idle_share``.
    """

    idle_share: float
    occupied_share: float


@dataclass(slots=True)
class _Lane:
    """One replica: requests that run as of the last reading, and what has been told since."""

    running: int = 0
    changes: list[tuple[float, int]] = field(default_factory=list)

    def read(self, from_s: float, to_s: float, slots: int) -> ReplicaReading:
        """Take in what has come up to ``to_s``; what came too late for an earlier reading counts from this one on."""
        due = sorted(change for change in self.changes if change[0] < to_s)
        self.changes = [change for change in self.changes if change[0] >= to_s]
        times_s = np.array([from_s, *(max(at_s, from_s) for at_s, _ in due), to_s])
        running = self.running + np.cumsum([0, *(change for _, change in due)])
        self.running = int(running[-1])
        widths_s, elapsed_s = np.diff(times_s), to_s - from_s
        return ReplicaReading(
            idle_share=float(widths_s[running <= 0].sum() / elapsed_s),
            occupied_share=float((widths_s * np.maximum(running, 0)).sum() / (elapsed_s * slots)),
        )


class ReplicaClock:
    """Idle and occupied shares of replicas while they run, from one reading to the next.

    Events may come from many hosts, late and out of order: between two readings the order in which they are told does
    not matter. An event is kept until it is read, at constant cost.
    """

    def __init__(self, *, slots_per_replica: int, from_s: float) -> None:
        self._slots = slots_per_replica
        self._read_s = from_s
        self._lanes: dict[str, _Lane] = {}

    def began(self, replica: str, at_s: float) -> None:
        self._change(replica, at_s, 1)

    def ended(self, replica: str, at_s: float) -> None:
        self._change(replica, at_s, -1)

    def read(self, at_s: float, replicas: Collection[str] | None = None) -> dict[str, ReplicaReading]:
        """By replica; nothing, and nothing is forgotten, where no time has passed since the last reading.

        ``replicas`` are those that there are: one of which nothing was heard was idle, others are forgotten. Without,
        they are those that were heard of.
        """
        if at_s <= self._read_s:
            return {}
        names = self._lanes.keys() if replicas is None else replicas
        self._lanes = {name: self._lanes.get(name) or _Lane() for name in names}
        readings = {name: lane.read(self._read_s, at_s, self._slots) for name, lane in self._lanes.items()}
        self._read_s = at_s
        return readings

    def _change(self, replica: str, at_s: float, change: int) -> None:
        self._lanes.setdefault(replica, _Lane()).changes.append((at_s, change))
