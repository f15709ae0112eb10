"""Drives the scheduler beside verl's trainer: takes in what rollout finished, and starts what may start.

Invariants: the scheduler is touched under one lock, by the trainer's thread or by the feed's own; what goes wrong in
the feed's thread is raised where the trainer next waits; a step's rows leave the feed with it. Slots are bound late: a
group starts when servers have room for it, so that it is young, and priority has a say until then.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tensordict import TensorDict

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.scheduling import arrivals
from pangu_verl.integrations.verl.scheduling.arrivals import Arrival, Row
from pangu_verl.integrations.verl.scheduling.prompts import PromptRows
from pangu_verl.queue.entries import Group, State
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.scheduler import Scheduler

#: How often TransferQueue is asked what has ended: it tells nobody by itself.
POLL_INTERVAL_S = 0.05
#: How often a prompt is generated anew after a session of it failed, before it is given up (project default).
MOST_FAILURES = 2
#: So many prompts given up with none finished between them end the run: something else is wrong (project default).
MOST_GIVEN_UP_IN_A_ROW = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """verl's side. ``load`` gives so many new rows of the data set, ``start`` sends rows to the agent loops.

    ``slots`` is how many trajectories all servers together generate at a time; ``takes_priorities`` whether a server
    orders its own queue by the number that comes with a request.
    """

    load: Callable[[int], TensorDict]
    start: Callable[[TensorDict], None]
    slots: int
    trajectories: int
    takes_priorities: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """A step's groups, and the rows of each by its key."""

    batch: Batch
    rows: dict[str, tuple[Row, ...]]


class Feed:
    """One run's. ``lock`` is held by whoever needs scheduler, prompts and TransferQueue to stand still."""

    def __init__(self, scheduler: Scheduler, prompts: PromptRows, rollout: Rollout) -> None:
        self.lock = threading.RLock()
        self.scheduler = scheduler
        self.counts: Counter[str] = Counter()
        self._prompts = prompts
        self._rollout = rollout
        self._rows: dict[str, tuple[Row, ...]] = {}
        self._failures: Counter[str] = Counter()
        self._given_up_in_a_row = 0
        #: Sessions that go on, as far as is known.
        self._busy_slots = 0
        self._changed = threading.Condition(self.lock)
        self._error: BaseException | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pangu-feed", daemon=True)

    def start(self) -> None:
        with self.lock:
            self._move()
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()

    def restored(self, rows: dict[str, tuple[Row, ...]]) -> None:
        """Rows of ready groups that a checkpoint kept."""
        self._rows.update(rows)

    def take(self) -> Delivery:
        """The next step's groups; waits until the scheduler hands them out. Raises what went wrong meanwhile."""
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                if (batch := self.scheduler.take()) is not None:
                    break
                self._changed.wait()
            keys = [entry.group.key for entry in batch.groups]
            rows = {key: self._rows.pop(key) for key in keys}
            self._prompts.forget(keys)
            self._move()
            return Delivery(batch, rows)

    def pump(self) -> None:
        """Take in what has ended since, and start what may start: what the feed's thread does again and again."""
        with self._changed:
            ended, self._busy_slots = arrivals.look(self._rollout.trajectories)
            self._arrive(ended)
            self._move()
            self._changed.notify_all()

    def published(self) -> int:
        """New weights are on the servers; returns their version."""
        with self._changed:
            version = self.scheduler.publish()
            self._move()
            return version

    def _run(self) -> None:
        while not self._is_over.wait(POLL_INTERVAL_S):
            try:
                self.pump()
            except BaseException as error:  # noqa: BLE001 - raised in the trainer's thread
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return

    # Arrivals

    def _arrive(self, ended: Sequence[Arrival]) -> None:
        awaited = [arrival for arrival in ended if self._is_awaited(arrival)]
        for arrival in awaited:
            if arrival.has_failed:
                self._fail(arrival)
            else:
                self._complete(arrival)
        failed = [arrival for arrival in awaited if arrival.has_failed]
        late = [arrival for arrival in ended if arrival not in awaited]
        self.counts["late_generations"] += len(late)
        arrivals.settle([*failed, *late], with_rows=True)
        arrivals.settle([arrival for arrival in awaited if not arrival.has_failed], with_rows=False)

    def _is_awaited(self, arrival: Arrival) -> bool:
        group = self.scheduler.live.get(arrival.key)
        return group is not None and group.state is State.RUNNING and group.attempt == arrival.attempt

    def _complete(self, arrival: Arrival) -> None:
        for member, trajectory in arrival.trajectories().items():
            self.scheduler.complete(arrival.key, member, trajectory, arrival.attempt)
        self._rows[arrival.key] = arrival.rows
        self._failures.pop(arrival.key, None)
        self._given_up_in_a_row = 0

    def _fail(self, arrival: Arrival) -> None:
        self._failures[arrival.key] += 1
        if self._failures[arrival.key] <= MOST_FAILURES:
            self.scheduler.restart([arrival.key])
            self.counts["restarted_prompts"] += 1
            return
        self.scheduler.abandon(arrival.key, "a session failed at every attempt")
        self._prompts.forget([arrival.key])
        self.counts["abandoned_prompts"] += 1
        self._given_up_in_a_row += 1
        if self._given_up_in_a_row >= MOST_GIVEN_UP_IN_A_ROW:
            raise RunFailed(
                f"{self._given_up_in_a_row} prompts in a row failed {MOST_FAILURES + 1} times each; the agent-loop "
                "workers' logs say why (a reward that raises, a server that refuses)"
            )

    # What follows from a change

    def _move(self) -> None:
        """Give up what is too old, admit what there is room for, and start what has a slot."""
        for group in self.scheduler.evict():
            rows = self._rows.pop(group.key, ())
            arrivals.clear([row.name for row in rows])
        while capacity := self.scheduler.capacity():
            self.scheduler.admit(self._prompts.keep(self._rollout.load(capacity)))
            if not self._dispatch():
                break
        self._dispatch()

    def _dispatch(self) -> list[Group]:
        trajectories = self._rollout.trajectories
        groups = self.scheduler.dispatch(max(0, (self._rollout.slots - self._busy_slots) // trajectories))
        if groups:
            self._busy_slots += len(groups) * trajectories
            step = self.scheduler.version + 1
            arrivals.register(groups, step)
            priorities = self.scheduler.request_priorities(groups) if self._rollout.takes_priorities else None
            self._rollout.start(self._prompts.of(groups, step, priorities))
        return groups
