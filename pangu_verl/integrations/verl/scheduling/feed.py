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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tensordict import TensorDict

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.scheduling import arrivals
from pangu_verl.integrations.verl.scheduling.arrivals import Arrival, Row
from pangu_verl.integrations.verl.scheduling.attempts import RESTS_S, Attempt, Attempts, AwakeClock
from pangu_verl.integrations.verl.scheduling.known_prompts import KnownPrompts
from pangu_verl.integrations.verl.scheduling.prompts import PromptRows, uid_of
from pangu_verl.queue.entries import LIVE_STATES, Group, State
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.readings import Reading
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.steering import steer
from pangu_verl.types import BoundController

#: verl looks for rows of validation as often.
POLL_INTERVAL_S = 0.05
#: The feed looks when it is told that something has ended, and at the latest after so long; and looks no more often
#: than the shorter one, since one look takes in all that has ended meanwhile (project defaults).
LONGEST_WAIT_S = 1.0
SHORTEST_WAIT_S = 0.01
#: So many prompts given up with none finished between them end the run: something else is wrong (project default).
MOST_GIVEN_UP_IN_A_ROW = 8
#: A trainer that waits says for whom, as often.
TOLD_AFTER_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """verl's side. ``load`` gives so many new rows of the data set, ``start`` sends rows to the agent loops.

    ``give_up`` asks the agent loops to stop generations, by uid; ``wait`` comes back when one has ended, or after so
    many seconds. ``slots`` says how many trajectories all servers together generate at a time; ``takes_priorities``
    whether a server orders its own queue by the number that comes with a request.
    """

    load: Callable[[int], TensorDict]
    start: Callable[[TensorDict], None]
    give_up: Callable[[Sequence[str]], None]
    wait: Callable[[float], None]
    slots: Callable[[], int]
    trajectories: int
    takes_priorities: bool = False
    #: What the trainer's thread does again and again while it waits for a batch.
    meanwhile: Callable[[], None] = lambda: None


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
        self._awake_clock = AwakeClock(clock)
        self._attempts = Attempts(scheduler.settings.lease_s, self._awake_clock)
        self._given_up_in_a_row = 0
        #: Sessions that go on, as far as is known.
        self._busy_slots = 0
        self._cpu_s = 0.0
        self._changed = threading.Condition(self.lock)
        self._error: BaseException | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pangu-feed", daemon=True)

    @property
    def known(self) -> KnownPrompts:
        """What was learnt of prompts so far."""
        return self._prompts.known

    def spent_cpu_s(self) -> float:
        """CPU seconds of scheduler, queue, ledger and feed since this was last asked, in whichever thread."""
        with self.lock:
            spent_s, self._cpu_s = self._cpu_s, 0.0
        return spent_s

    def start(self) -> None:
        with self._at_work():
            self._move()
        self._thread.start()

    def stop(self) -> None:
        """The feed's thread ends, or is left behind if it does not come back from Ray; nothing is started any more."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join(TOLD_AFTER_S)

    def check(self) -> None:
        """Raise what went wrong in the feed's thread."""
        if self._error is not None:
            raise self._error

    def restored(self, rows: dict[str, tuple[Row, ...]]) -> None:
        """Rows of ready groups that a checkpoint kept."""
        self._rows.update(rows)

    def take(self) -> Delivery:
        """The next step's groups; waits until the scheduler hands them out. Raises what went wrong meanwhile."""
        with self._at_work():
            tell_at_s = self._clock() + TOLD_AFTER_S
            while True:
                self.check()
                if (batch := self.scheduler.take()) is not None:
                    break
                self._rollout.meanwhile()
                self._changed.wait(TOLD_AFTER_S)
                if self._clock() >= tell_at_s:
                    self._tell()
                    tell_at_s += TOLD_AFTER_S
            keys = [entry.group.key for entry in batch.groups]
            rows = {key: self._rows.pop(key) for key in keys}
            self._prompts.forget(keys)
            self._move()
            return Delivery(batch, rows)

    def pump(self) -> None:
        """Take in what has ended since, and start what may start: what the feed's thread does again and again."""
        with self._at_work():
            ended, self._busy_slots = arrivals.look(self._rollout.trajectories)
            self._arrive(ended)
            self._move()
            self._changed.notify_all()

    def published(self) -> int:
        """New weights are on the servers; returns their version."""
        with self._at_work():
            version = self.scheduler.publish()
            self._move()
            return version

    def steer(self, controller: BoundController, reading: Reading) -> None:
        """Let the controller move bound and window, and do what follows."""
        with self._at_work():
            steer(self.scheduler, controller, reading)
            self._move()

    def servers_stand_still(self) -> AbstractContextManager[None]:
        """While the context is open no lease runs."""
        return self._awake_clock.stopped()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._changed:
            began_s = time.thread_time()
            try:
                yield
            finally:
                self._cpu_s += time.thread_time() - began_s

    def _tell(self) -> None:
        """That the trainer waits, and for whom: a session that hangs would otherwise be a silent standstill."""
        counts = {state.name.lower(): self.scheduler.num_groups(state) for state in LIVE_STATES}
        oldest = next((group for group in self.scheduler.live.values() if group.state is State.RUNNING), None)
        uid = oldest and uid_of(oldest.key, oldest.attempt)
        logger.warning("no step for %d s: %s; the oldest that runs is %s", TOLD_AFTER_S, counts, uid)

    def _run(self) -> None:
        while not self._is_over.wait(SHORTEST_WAIT_S):
            try:
                self._rollout.wait(LONGEST_WAIT_S)
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
            attempt = (arrival.key, arrival.attempt)
            self._attempts.end(attempt)
            is_awaited = self._is_awaited(attempt)
            if is_awaited and not arrival.has_failed:
                self._complete(arrival)
                kept.append(arrival)
                continue
            if is_awaited:
                self._fail(attempt)
            self.counts["late_generations"] += not (is_awaited or arrival.has_failed)
            useless.append(arrival)
        arrivals.settle(useless, with_rows=True)
        arrivals.settle(kept, with_rows=False)

    def _is_awaited(self, attempt: Attempt) -> bool:
        key, number = attempt
        group = self.scheduler.live.get(key)
        return group is not None and group.state is State.RUNNING and group.attempt == number

    def _complete(self, arrival: Arrival) -> None:
        group = self.scheduler.live[arrival.key]
        assert group.started_version is not None
        outcomes = arrival.outcomes(group.started_version)
        for member, outcome in outcomes.items():
            self.scheduler.complete(arrival.key, member, outcome.trajectory, arrival.attempt)
        self._prompts.known.record(
            group.task,
            group.prompt.row,
            [outcome.passed for outcome in outcomes.values()],
            [outcome.trajectory.tokens for outcome in outcomes.values()],
        )
        self._rows[arrival.key] = arrival.rows
        self._attempts.succeeded(arrival.key)
        self._given_up_in_a_row = 0

    def _fail(self, attempt: Attempt) -> None:
        if self._attempts.rests(attempt):
            return
        key, _ = attempt
        self.scheduler.abandon(key, "a session failed at every attempt")
        self._prompts.forget([key])
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
        self._restart()
        for group in self.scheduler.evict():
            if (rows := self._rows.pop(group.key, None)) is not None:
                arrivals.clear([row.name for row in rows])
            else:
                self._stop((group.key, group.attempt - 1))
        self._dispatch()
        while capacity := self.scheduler.capacity():
            self.scheduler.admit(self._prompts.keep(self._rollout.load(capacity)))
            if not self._dispatch():
                break

    def _restart(self) -> None:
        """What rested after a failure, and what hangs; the policy may have given either up meanwhile."""
        for attempt in filter(self._is_awaited, self._attempts.rested()):
            self.scheduler.restart([attempt[0]])
            self.counts["restarted_prompts"] += 1
        for attempt in filter(self._is_awaited, self._attempts.hung()):
            self._stop(attempt)
            self._fail(attempt)
            self.counts["hung_generations"] += 1

    def _stop(self, attempt: Attempt) -> None:
        self._attempts.end(attempt)
        self._rollout.give_up([uid_of(*attempt)])

    def _dispatch(self) -> list[Group]:
        trajectories = self._rollout.trajectories
        groups = self.scheduler.dispatch(max(0, (self._rollout.slots() - self._busy_slots) // trajectories))
        if groups:
            self._busy_slots += len(groups) * trajectories
            step = self.scheduler.version + 1
            arrivals.register(groups, step)
            for group in groups:
                self._attempts.start((group.key, group.attempt))
            priorities = self.scheduler.request_priorities(groups) if self._rollout.takes_priorities else None
            self._rollout.start(self._prompts.of(groups, step, priorities))
        return groups
