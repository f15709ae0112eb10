"""The discrete-event loop: a selection, replicas and a trainer on one clock that jumps from event to event.

The selection is what decides (a ``Scheduler``, the same object as on a cluster, or one of ``baselines``); the engine
only carries out: it admits what there is room for, dispatches groups when slots are free (late binding), ends
trajectories, trains for a time proportional to the tokens forwarded, and publishes. Invariants: the same plan gives
the same run; no wall clock is read; a run that can make no progress raises ``RunFailed`` instead of hanging.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.entries import Group, Trajectory
from pangu_verl.simulate.cluster import Cluster, Split
from pangu_verl.simulate.fleet import Fleet
from pangu_verl.simulate.replicas import Request, Stage
from pangu_verl.simulate.selection import Selection
from pangu_verl.simulate.streams import Use, stream
from pangu_verl.simulate.tally import StepFacts, Tally
from pangu_verl.simulate.traces import Trace

#: A group that was begun so often will never be done.
MOST_ATTEMPTS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A run of ``steps`` training steps, ``steps_per_version`` between two publications.

    With ``partial_rollouts`` trajectories go on across publications; without, a publication waits until none runs.
    With ``forwards_masked`` the trainer goes through trajectories of which every token is masked, as verl's does;
    without, it leaves them out, as only their reward counts. ``seed`` is that of the failures; lengths have their own.
    """

    trace: Trace
    cluster: Cluster
    split: Split
    steps: int
    steps_per_version: int = 1
    partial_rollouts: bool = True
    forwards_masked: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.steps_per_version < 1:
            raise WrongUse(f"steps and steps_per_version are at least 1, not {self.steps} and {self.steps_per_version}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Where a run is taken up: the first prompt and step that are still to come, and the groups that are live."""

    prompt: int = 0
    step: int = 0
    groups: Sequence[Group] = ()


@dataclass(slots=True)
class _StartedGroup:
    """A group that runs, is ready or waits with trajectories kept; ``num_left`` of them have not ended."""

    group: Group
    requests: list[Request]
    num_left: int


class Engine:
    """One run of a plan. Times are seconds of simulation from its start.

    A run that is taken up at ``start`` plays the plan's number of steps from there, with a selection that was restored:
    nothing runs yet, its version is that of the fleet, and a publication that its last step owes comes first.
    """

    def __init__(self, plan: Plan, selection: Selection, start: Start | None = None) -> None:
        start = start or Start()
        self._plan = plan
        self._selection = selection
        self._fleet = Fleet(plan.cluster, plan.split.replicas, selection.version)
        self._tally = Tally(forwards_masked=plan.forwards_masked)
        self._trained_tokens_per_s = plan.cluster.train_tokens_per_s * plan.split.trainer_devices
        self._now_s = 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serials = count()
        #: Timers that something waits for; failures are awaited by nobody.
        self._num_awaited = 0
        self._queued: deque[Request] = deque()
        self._started: dict[str, _StartedGroup] = {}
        for group in start.groups:
            if group.finished:
                self._started[group.key] = _StartedGroup(group, self._requests(group), group.missing)
        self._num_prompts = start.prompt
        self._first_step = start.step
        self._is_changed = True
        self._may_dispatch = True
        self._trains = False
        self._owes_publication = start.step - selection.version * plan.steps_per_version == plan.steps_per_version
        self._publishes = False
        self._begun: StepFacts | None = None

    def run(self, on_step: Callable[[StepFacts], None] | None = None) -> Tally:
        """Play the run; ``on_step`` is told of each training step as it ends, and may adjust the selection."""
        self._await_failures()
        self._proceed()
        while len(self._tally.steps) < self._plan.steps:
            end_s = self._fleet.next_end_s()
            timer_s = self._timers[0][0] if self._timers else math.inf
            if end_s == math.inf and not self._num_awaited:
                raise RunFailed(
                    f"the simulation came to rest at version {self._selection.version} after {len(self._tally.steps)} "
                    f"of {self._plan.steps} steps: nothing runs and nothing may start; widen the window or the bound"
                )
            self._now_s = min(end_s, timer_s)
            num_steps = len(self._tally.steps)
            if end_s <= timer_s:
                self._end_trajectory()
            else:
                heapq.heappop(self._timers)[2]()
            if on_step is not None and len(self._tally.steps) > num_steps:
                on_step(self._tally.steps[-1])
            self._proceed()
        self._tally.count_left_over([started.group for started in self._started.values()], self._selection.version)
        return self._tally

    # What follows from an event

    def _proceed(self) -> None:
        while self._is_changed:
            self._is_changed = False
            self._may_dispatch = True
            evicted = self._selection.evict()
            self._tally.num_dropped_groups += len(evicted)
            self._give_up(evicted)
            # First, or what starts at this very moment would count as older than it is.
            self._publish_if_owed()
            self._fill_slots()
            if not (self._trains or self._owes_publication or self._publishes):
                self._begin_step()
        self._fill_slots()
        self._publish_if_owed()

    def _fill_slots(self) -> None:
        # What starts while weights are on their way makes no token before they are there, but would count as older.
        while self._fleet.free_slots and not self._publishes:
            request = self._next_request()
            if request is None:
                return
            self._fleet.start(request, self._now_s)

    def _next_request(self) -> Request | None:
        while True:
            while self._queued:
                request = self._queued.popleft()
                if request.stage is Stage.QUEUED:
                    return request
            if not self._may_dispatch:
                return None
            self._dispatch()

    def _dispatch(self) -> None:
        if room := self._selection.capacity():
            first = self._num_prompts
            self._num_prompts += room
            self._selection.admit([self._plan.trace.prompt(index) for index in range(first, self._num_prompts)])
        groups = self._selection.dispatch(math.ceil(self._fleet.free_slots / self._plan.trace.trajectories))
        self._may_dispatch = bool(groups)
        for group in groups:
            self._queue_requests(group)

    def _queue_requests(self, group: Group) -> None:
        requests = self._requests(group)
        self._started[group.key] = _StartedGroup(group, requests, group.missing)
        self._queued += [request for request in requests if request.stage is Stage.QUEUED]

    def _requests(self, group: Group) -> list[Request]:
        """One for each member; those whose trajectories were kept over a resumption have ended."""
        row = group.prompt.row
        if row is None:
            raise ValueError(f"group {group.key!r} has no row; a trace's prompts do")
        if group.attempt >= MOST_ATTEMPTS:
            raise RunFailed(
                f"group {group.key!r} was begun {group.attempt} times and never trained on: the policy gives up "
                "whatever comes, or servers are lost faster than they finish; mend the policy or the cluster"
            )
        responses = self._plan.trace.responses(row, group.attempt)
        prompt_tokens = self._plan.trace.prompt_tokens(row)
        requests = [
            Request(group.key, member, group.attempt, tokens, prompt_tokens, reward)
            for member, (tokens, reward) in enumerate(zip(*responses, strict=True))
        ]
        for member, kept in group.finished.items():
            requests[member].tokens, requests[member].stage = kept.tokens, Stage.ENDED
        return requests

    def _give_up(self, groups: Iterable[Group]) -> None:
        for group in groups:
            for request in self._started.pop(group.key).requests:
                is_ended = request.stage is Stage.ENDED
                self._tally.wasted_tokens += request.tokens if is_ended else self._fleet.abort(request, self._now_s)
        self._is_changed = self._is_changed or bool(groups)

    # Events

    def _end_trajectory(self) -> None:
        request, segments = self._fleet.end(self._now_s)
        trajectory = Trajectory(segments, request.reward)
        if not self._selection.complete(request.key, request.member, trajectory, request.attempt):
            raise RunFailed(
                f"the selection refused trajectory {request.member} of {request.key!r}, which it had asked for"
            )
        started = self._started[request.key]
        started.num_left -= 1
        self._is_changed = self._is_changed or not started.num_left

    def _begin_step(self) -> None:
        batch = self._selection.take()
        if batch is None:
            return
        for entry in batch.groups:
            del self._started[entry.group.key]
        self._trains = self._is_changed = True
        self._begun = self._tally.consume(batch, self._now_s, self._trained_tokens_per_s)
        self._set_timer(self._begun.train_s, self._end_step)

    def _end_step(self) -> None:
        self._trains = False
        self._is_changed = True
        assert self._begun is not None
        self._tally.end_step(self._begun, self._now_s, self._fleet.busy_slot_s(self._now_s), self._fleet.slots)
        steps = self._first_step + len(self._tally.steps)
        self._owes_publication = steps % self._plan.steps_per_version == 0

    def _publish_if_owed(self) -> None:
        if not self._owes_publication or not (self._plan.partial_rollouts or self._is_drained()):
            return
        self._owes_publication = False
        self._publishes = True
        self._fleet.pause(self._now_s + self._plan.cluster.publication_s, self._now_s)
        self._set_timer(self._plan.cluster.publication_s, self._publish)

    def _is_drained(self) -> bool:
        return not self._queued and not self._fleet.running

    def _publish(self) -> None:
        self._publishes = False
        self._is_changed = True
        self._selection.publish()
        self._fleet.publish(self._now_s)

    def _await_failures(self) -> None:
        if self._plan.cluster.mean_time_between_failures_s is not None:
            for replica in self._fleet.replicas:
                self._await_failure(replica.index, stream(self._plan.seed, Use.FAILURES, replica.index))

    def _await_failure(self, index: int, draws: np.random.Generator) -> None:
        mean_s = self._plan.cluster.mean_time_between_failures_s
        assert mean_s is not None
        fail_s = self._now_s + draws.exponential(mean_s)
        heapq.heappush(self._timers, (fail_s, next(self._serials), lambda: self._fail(index, draws)))

    def _fail(self, index: int, draws: np.random.Generator) -> None:
        lost = self._fleet.fail(index, self._now_s)
        groups = self._selection.restart(dict.fromkeys(request.key for request in lost))
        self._tally.num_restarted_groups += len(groups)
        self._give_up(groups)

        def restart() -> None:
            self._fleet.restart(index)
            self._await_failure(index, draws)

        self._set_timer(self._plan.cluster.restart_s, restart)

    def _set_timer(self, delay_s: float, action: Callable[[], None]) -> None:
        def act() -> None:
            self._num_awaited -= 1
            action()

        self._num_awaited += 1
        heapq.heappush(self._timers, (self._now_s + delay_s, next(self._serials), act))
