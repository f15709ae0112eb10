"""A timeline as it is drawn: on running time, a lane per replica, and what was idle when.

Running time counts the seconds while the run was up; what lies between a kill and its resumption is cut out. Invariant:
shares are those of ``pangu_verl.scheduler.idle``. Nothing is drawn here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pangu_verl.scheduler.idle import (
    Floats,
    Intervals,
    ReplicaShares,
    TrainerShares,
    replica_shares,
    trainer_shares,
)
from pangu_verl.scheduler.timeline import Run
from pangu_verl.scheduler.timeline_reading import Session, Timeline


class Window(NamedTuple):
    """A piece of running time, and the slots that a replica has in it (their mean, if a resumption changed them)."""

    from_s: float
    to_s: float
    slots: float


class TrainedStep(NamedTuple):
    """One step of the trainer. ``from_s`` is where the one before it ended in the same session."""

    step: int
    version: int
    session: int
    from_s: float
    waited_from_s: float
    began_s: float
    ended_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """The requests of one replica, ``version`` -1 where one made nothing."""

    name: str
    requests: Intervals
    version: NDArray[np.int64]
    tokens: NDArray[np.int64]

    def cut(self, window: Window) -> Lane:
        """What reaches into a window, cut off at its ends."""
        began_s, ended_s = self.requests
        inside = (began_s < window.to_s) & (ended_s > window.from_s)
        requests = Intervals(np.maximum(began_s[inside], window.from_s), np.minimum(ended_s[inside], window.to_s))
        return Lane(name=self.name, requests=requests, version=self.version[inside], tokens=self.tokens[inside])


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """All of a run. ``sessions`` follow each other without a gap."""

    runs: tuple[Run, ...]
    sessions: tuple[Window, ...]
    cut_out_s: float
    lanes: tuple[Lane, ...]
    steps: tuple[TrainedStep, ...]
    publications: Intervals

    @property
    def whole(self) -> Window:
        lengths_s = [session.to_s - session.from_s for session in self.sessions]
        slots = np.average([session.slots for session in self.sessions], weights=lengths_s)
        return Window(0.0, self.sessions[-1].to_s, float(slots))

    @property
    def computing(self) -> Intervals:
        return _intervals([(step.began_s, step.ended_s) for step in self.steps])

    def trainer(self, window: Window) -> TrainerShares:
        return trainer_shares(window[:2], self.computing, self.publications)

    def replica(self, lane: Lane, window: Window) -> ReplicaShares:
        return replica_shares(window[:2], lane.requests, self.publications, window.slots)

    def middle(self, most_steps: int) -> tuple[Window, list[TrainedStep]]:
        """Steps in the middle of the session that has most of them; all of the longest session where none took time."""
        session = int(np.bincount([step.session for step in self.steps], minlength=1).argmax())
        steps = [step for step in self.steps if step.session == session]
        start = max(len(steps) - most_steps, 0) // 2
        shown = steps[start : start + most_steps]
        if shown and shown[-1].ended_s > shown[0].from_s:
            return Window(shown[0].from_s, shown[-1].ended_s, self.sessions[session].slots), shown
        return max(self.sessions, key=lambda session: session.to_s - session.from_s), []

    def by_step(self) -> tuple[TrainerShares, list[ReplicaShares]]:
        """Shares of the trainer and of each replica, an element a step, NaN where a step took no time."""
        edges_s = np.maximum.accumulate([edge for step in self.steps for edge in (step.from_s, step.ended_s)])
        slots = np.repeat([self.sessions[step.session].slots for step in self.steps], 2)[:-1]
        trainer = trainer_shares(edges_s, self.computing, self.publications)
        replicas = [replica_shares(edges_s, lane.requests, self.publications, slots) for lane in self.lanes]
        # every other window lies between two steps
        return TrainerShares(*(share[::2] for share in trainer)), [
            ReplicaShares(*(share[::2] for share in shares)) for shares in replicas
        ]


def view_of(timeline: Timeline) -> View | None:
    """``None`` where no time passed that could be shown."""
    sessions = [session for session in timeline.sessions if session.ended_s > session.run.at_s]
    if not sessions:
        return None
    clock = _RunningTime(sessions)
    return View(
        runs=tuple(session.run for session in sessions),
        sessions=clock.sessions,
        cut_out_s=clock.cut_out_s,
        lanes=tuple(_lanes(timeline, clock)),
        steps=tuple(_steps(timeline, clock)),
        publications=Intervals(
            clock.at([publication.began_s for publication in timeline.publications]),
            clock.at([publication.ended_s for publication in timeline.publications]),
        ),
    )


class _RunningTime:
    """From seconds since the epoch to running time."""

    def __init__(self, sessions: list[Session]) -> None:
        # A clock that was set back between two sessions must not let them overlap.
        edges_s = [edge for session in sessions for edge in (session.run.at_s, session.ended_s)]
        self._edges_s = np.maximum.accumulate(edges_s)
        lengths_s = np.diff(self._edges_s)
        self.cut_out_s = float(lengths_s[1::2].sum())
        lengths_s[1::2] = 0.0
        self._running_s = np.concatenate([[0.0], np.cumsum(lengths_s)])
        pairs_s = self._running_s.reshape(-1, 2).tolist()
        self.sessions = tuple(
            Window(from_s, to_s, float(session.run.slots_per_replica))
            for session, (from_s, to_s) in zip(sessions, pairs_s, strict=True)
        )

    def at(self, times_s: object) -> Floats:
        running_s: Floats = np.interp(np.asarray(times_s, dtype=np.float64), self._edges_s, self._running_s)
        return running_s

    def session(self, at_s: float) -> int:
        """The one that ran at a time since the epoch."""
        return max(int(np.searchsorted(self._edges_s[::2], at_s, side="right")) - 1, 0)


def _steps(timeline: Timeline, clock: _RunningTime) -> list[TrainedStep]:
    found: list[TrainedStep] = []
    for step in timeline.steps:
        waited_from_s, began_s, ended_s = clock.at([step.waited_from_s, step.began_s, step.ended_s]).tolist()
        session = clock.session(step.ended_s)
        is_next = bool(found) and found[-1].session == session
        from_s = found[-1].ended_s if is_next else waited_from_s
        found.append(TrainedStep(step.step, step.version, session, from_s, waited_from_s, began_s, ended_s))
    return found


def _lanes(timeline: Timeline, clock: _RunningTime) -> list[Lane]:
    """Replicas in the order in which people count: 2 before 10."""
    attempts = timeline.attempts
    began_s, ended_s = clock.at(attempts.began_s), clock.at(attempts.ended_s)
    order = np.argsort(attempts.replica, kind="stable")
    ends = np.searchsorted(attempts.replica[order], np.arange(len(attempts.replicas) + 1))
    lanes = []
    for place, name in enumerate(attempts.replicas):
        mine = order[ends[place] : ends[place + 1]]
        requests = Intervals(began_s[mine], ended_s[mine])
        lanes.append(Lane(name=name, requests=requests, version=attempts.version[mine], tokens=attempts.tokens[mine]))
    return sorted(lanes, key=lambda lane: _counted(lane.name))


def _counted(name: str) -> tuple[list[tuple[int, str]], str]:
    """Numbers within a name compare as numbers; a name of many digits compares by their count first."""
    parts = re.split(r"([0-9]+)", name)
    return [
        (len(part.lstrip("0")), part.lstrip("0")) if index % 2 else (0, part) for index, part in enumerate(parts)
    ], name


def _intervals(pairs_s: list[tuple[float, float]]) -> Intervals:
    began_s, ended_s = np.array(pairs_s, dtype=np.float64).reshape(-1, 2).T
    return Intervals(began_s, ended_s)
