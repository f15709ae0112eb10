"""Drives the scheduler beside verl's trainer: takes in what rollout finished, and starts what may start.

Invariants: the scheduler is touched under one lock, by the trainer's thread or by the feed's own; what goes wrong in
the feed's thread is raised where the trainer next waits; a step's rows leave the feed with it. Slots are bound late: a
group starts when servers have room for it, so that it is young, and priority has a say until then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tensordict import TensorDict

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.scheduling import arrivals
from pangu_verl.integrations.verl.scheduling.arrivals import Arrival, Row
from pangu_verl.integrations.verl.scheduling.prompts import PromptRows, uid_of
from pangu_verl.queue.entries import LIVE_STATES, Group, State
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.scheduler import Scheduler

#: How often TransferQueue is asked what has ended: it tells nobody by itself.
POLL_INTERVAL_S = 0.05
#: So many prompts given up with none finished between them end the run: something else is wrong (project default).
MOST_GIVEN_UP_IN_A_ROW = 8
#: How long a prompt rests before it is generated anew, after its first and its second failure (project default).
RESTS_S = (1.0, 10.0)
_TOLD_AFTER_S = 60.0

logger = logging.getLogger(__name__)


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

    def __init__(
        self, scheduler: Scheduler, prompts: PromptRows, rollout: Rollout, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lock = threading.RLock()
        self.scheduler = scheduler
        self.counts: Counter[str] = Counter()
        self._prompts = prompts
        self._rollout = rollout
        self._rows: dict[str, tuple[Row, ...]] = {}
        self._clock = clock
        self._failures: Counter[str] = Counter()
        #: Keys and attempts of prompts that failed, and when they are generated anew.
        self._resting_until_s: dict[tuple[str, int], float] = {}
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
        """The feed's thread ends, or is left behind if it does not come back from Ray; nothing is started any more."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join(_TOLD_AFTER_S)

    def check(self) -> None:
        """Raise what went wrong in the feed's thread."""
        if self._error is not None:
            raise self._error

    def restored(self, rows: dict[str, tuple[Row, ...]]) -> None:
        """Rows of ready groups that a checkpoint kept."""
        self._rows.update(rows)

    def take(self) -> Delivery:
        """The next step's groups; waits until the scheduler hands them out. Raises what went wrong meanwhile."""
        with self._changed:
            while True:
                self.check()
                if (batch := self.scheduler.take()) is not None:
                    break
                if not self._changed.wait(_TOLD_AFTER_S):
                    self._tell()
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

    def _tell(self) -> None:
        """That the trainer waits, and for whom: a session that hangs would otherwise be a silent standstill."""
        counts = {state.name.lower(): self.scheduler.num_groups(state) for state in LIVE_STATES}
        oldest = next((group for group in self.scheduler.live.values() if group.state is State.RUNNING), None)
        logger.warning(
            "no step for %d s: %s; the oldest that runs is %s", _TOLD_AFTER_S, counts, oldest and uid_of(oldest)
        )

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
        kept: list[Arrival] = []
        useless: list[Arrival] = []
        for arrival in ended:
            is_awaited = self._is_awaited(arrival)
            if is_awaited and not arrival.has_failed:
                self._complete(arrival)
                kept.append(arrival)
                continue
            if is_awaited:
                self._fail(arrival)
            self.counts["late_generations"] += not is_awaited
            useless.append(arrival)
        arrivals.settle(useless, with_rows=True)
        arrivals.settle(kept, with_rows=False)

    def _is_awaited(self, arrival: Arrival) -> bool:
        group = self.scheduler.live.get(arrival.key)
        return group is not None and group.state is State.RUNNING and group.attempt == arrival.attempt

    def _complete(self, arrival: Arrival) -> None:
        started_version = self.scheduler.live[arrival.key].started_version
        assert started_version is not None
        for member, trajectory in arrival.trajectories(started_version).items():
            self.scheduler.complete(arrival.key, member, trajectory, arrival.attempt)
        self._rows[arrival.key] = arrival.rows
        self._failures.pop(arrival.key, None)
        self._given_up_in_a_row = 0

    def _fail(self, arrival: Arrival) -> None:
        failures = self._failures.pop(arrival.key, 0)
        if failures < len(RESTS_S):
            self._failures[arrival.key] = failures + 1
            self._resting_until_s[arrival.key, arrival.attempt] = self._clock() + RESTS_S[failures]
            return
        self.scheduler.abandon(arrival.key, "a session failed at every attempt")
        self._prompts.forget([arrival.key])
        self.counts["abandoned_prompts"] += 1
        self._given_up_in_a_row += 1
        if self._given_up_in_a_row >= MOST_GIVEN_UP_IN_A_ROW:
            raise RunFailed(
                f"{self._given_up_in_a_row} prompts in a row failed {len(RESTS_S) + 1} times each; the agent-loop "
                "workers' logs say why (a reward that raises, a server that refuses)"
            )

    # What follows from a change

    def _move(self) -> None:
        """Give up what is too old, admit what there is room for, and start what has a slot."""
        self._restart_rested()
        for group in self.scheduler.evict():
            rows = self._rows.pop(group.key, ())
            arrivals.clear([row.name for row in rows])
        while capacity := self.scheduler.capacity():
            self.scheduler.admit(self._prompts.keep(self._rollout.load(capacity)))
            if not self._dispatch():
                break
        self._dispatch()

    def _restart_rested(self) -> None:
        now_s = self._clock()
        for key, attempt in [name for name, until_s in self._resting_until_s.items() if until_s <= now_s]:
            del self._resting_until_s[key, attempt]
            group = self.scheduler.live.get(key)
            # The policy may have given it up meanwhile.
            if group is not None and group.state is State.RUNNING and group.attempt == attempt:
                self.scheduler.restart([key])
                self.counts["restarted_prompts"] += 1

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
