"""The rollout servers on devices of their own: one that dies is left out, and another is started in its place.

verl starts them once and stops where one is gone. Invariants: a server that died gets no request and no weights any
more; a new one gets requests only once it holds the weights of the present version; the number of starts within an
hour is bounded, and a run without any server ends with the name of the last one and why it died. What is not done: a
server that hangs is not noticed, and servers on the trainer's devices are the supervisor's business. Nothing here
speaks to the trainer's workers; how weights reach servers is in ``publications``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

import ray
from ray.actor import ActorHandle
from verl.workers.rollout.llm_server import LLMServerManager
from verl.workers.rollout.replica import RolloutReplica

from pangu_verl.errors import RunFailed, first_line
from pangu_verl.integrations.verl.monitor import find_monitor
from pangu_verl.integrations.verl.supervisor import reason_of_death

LOOK_EVERY_S = 1.0
#: Servers that are started within an hour; what dies more often is not mended by another start (project default).
MOST_STARTS_PER_HOUR = 10
#: Before a start after a loss: Ray needs a moment to know that the devices are free (project default).
REST_AFTER_A_LOSS_S = 5.0
#: After a start that failed: devices or a machine may come back (project default).
REST_AFTER_A_FAILED_START_S = 60.0
_HOUR_S = 3600.0
_PATIENCE_S = 10.0

logger = logging.getLogger(__name__)

#: Actors of a replica by their Ray names.
_Actors = dict[str, ActorHandle]


class Servers:
    """Those of ``manager``, of which some may die and others come. Its lists are kept up to date.

    ``serving`` take requests; ``started`` are new and wait for weights. Every method may be called from any thread.
    """

    def __init__(self, manager: LLMServerManager, clock: Callable[[], float] = time.monotonic) -> None:
        self._manager = manager
        self._clock = clock
        self._lock = threading.RLock()
        self._actors: dict[RolloutReplica, _Actors] = {}
        self.serving = list(manager.rollout_replicas)
        self.started: list[RolloutReplica] = []
        #: How many were lost, and how many were started.
        self.counts: Counter[str] = Counter()
        self._wanted = len(self.serving)
        self._next_rank = max(replica.replica_rank for replica in self.serving) + 1
        self._starting = 0
        self._starts_s: deque[float] = deque()
        self._not_before_s = clock()
        self._last_death = ""
        self._looks_after = False
        self._error: BaseException | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pangu-servers", daemon=True)

    def start(self) -> None:
        """Look after them from now on, if they are actors of their own. Before, the death of one ends the run."""
        actors = [actor for replica in self.serving for actor in (*replica.servers, *replica.workers)]
        if not all(isinstance(actor, ActorHandle) for actor in actors):
            return
        self._actors = {replica: _named(replica) for replica in self.serving}
        for replica in self.serving:
            _look_after(replica.replica_rank)
        self._looks_after = True
        self._thread.start()

    def stop(self) -> None:
        """Nothing is started any more; those that died meanwhile are left out."""
        self._is_over.set()
        if not self._thread.is_alive():
            return
        self._thread.join(_PATIENCE_S)
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 - the run ends anyway, perhaps because Ray is down
            logger.warning("servers could not be looked at once more: %s", first_line(error))

    def add(self, number: int = 1) -> None:
        """Start so many more, on devices that Ray has free. They take part from the next publication at the latest."""
        with self._lock:
            self._wanted += number

    def check(self) -> None:
        """``RunFailed`` where no server is left and none will come; also what went wrong in the thread."""
        with self._lock:
            if self._error is not None:
                raise self._error
            if not (self.serving or self.started or self._starting or self._starts_left()):
                raise RunFailed(
                    f"no rollout server is left: {self._last_death}; {MOST_STARTS_PER_HOUR} were started anew within "
                    "an hour; see the logs of the servers, mend the cause and go on with --resume"
                )

    def look(self) -> None:
        """Leave out those that have died since."""
        with self._lock:
            living = set(ray.util.list_named_actors())
            gone = {replica: sorted(actors.keys() - living) for replica, actors in self._actors.items()}
            for replica, names in gone.items():
                if names:
                    reason = reason_of_death(self._actors[replica][names[0]])
                    self._lose(replica, f"{names[0]} died: {reason or 'it was stopped'}")

    def have_lost(self, replicas: list[RolloutReplica]) -> bool:
        """Whether one of them is dead; Ray may need a moment to know."""
        if not self._looks_after:
            return False
        until_s = time.monotonic() + _PATIENCE_S
        while True:
            self.look()
            if not {*replicas} <= {*self.serving, *self.started}:
                return True
            if time.monotonic() >= until_s:
                return False
            time.sleep(_PATIENCE_S / 20)

    def serve(self, replicas: list[RolloutReplica]) -> None:
        """They hold the present weights: from now on those that are new take requests."""
        with self._lock:
            new = [replica for replica in replicas if replica in self.started]
            if not new:
                return
            self.started = [replica for replica in self.started if replica not in new]
            self.serving += new
            self._write_lists()
            handles = {replica.server_address: replica.server_handle for replica in new}
            ray.get(self._manager.global_load_balancer.add_servers.remote(handles))

    def metrics(self) -> dict[str, float]:
        """For verl's trackers, which take what the end of a name says of several values."""
        with self._lock:
            return {
                "scheduler/servers/min": float(len(self.serving)),
                "scheduler/lost_servers_so_far/max": float(self.counts["lost"]),
                "scheduler/started_servers_so_far/max": float(self.counts["started"]),
            }

    # In the thread

    def _run(self) -> None:
        while not self._is_over.wait(LOOK_EVERY_S):
            try:
                self.add(_asked_for())
                self.look()
                self._fill()
            except BaseException as error:  # noqa: BLE001 - raised in the trainer's thread
                self._error = error
                return

    def _lose(self, replica: RolloutReplica, death: str) -> None:
        actors = self._actors.pop(replica)
        self.serving = [other for other in self.serving if other is not replica]
        self.started = [other for other in self.started if other is not replica]
        self.counts["lost"] += 1
        self._last_death = death
        self._not_before_s = max(self._not_before_s, self._clock() + REST_AFTER_A_LOSS_S)
        logger.error("%s; %d rollout servers are left", death, len(self.serving))
        self._write_lists()
        ray.get(self._manager.global_load_balancer.remove_servers.remote([replica.server_address]))
        _release(replica, actors)

    def _write_lists(self) -> None:
        self._manager.rollout_replicas = list(self.serving)
        self._manager.server_handles = [replica.server_handle for replica in self.serving]
        self._manager.server_addresses = [replica.server_address for replica in self.serving]

    def _starts_left(self) -> int:
        while self._starts_s and self._starts_s[0] <= self._clock() - _HOUR_S:
            self._starts_s.popleft()
        return MOST_STARTS_PER_HOUR - len(self._starts_s)

    def _fill(self) -> None:
        """Begin to start what is missing, each in a thread of its own: it takes a server up to minutes."""
        with self._lock:
            missing = self._wanted - len(self.serving) - len(self.started) - self._starting
            if missing <= 0 or self._clock() < self._not_before_s:
                return
            for _ in range(min(missing, self._starts_left())):
                self._starts_s.append(self._clock())
                self._starting += 1
                threading.Thread(
                    target=self._start, args=(self._next_rank,), name="pangu-server-start", daemon=True
                ).start()
                self._next_rank += 1

    def _start(self, rank: int) -> None:
        """A number of its own, since Ray may still know the names of the one that died."""
        config = self._manager.rollout_config
        replica = None
        try:
            _look_after(rank)
            replica = self._manager.rollout_replica_class(
                replica_rank=rank,
                config=config,
                model_config=self._manager.model_config,
                gpus_per_node=config.n_gpus_per_node,
            )
            asyncio.run(replica.init_standalone())
            actors = _named(replica)
        except Exception as error:  # noqa: BLE001 - whatever a server cannot start of, the others go on
            logger.warning("rollout server %d could not be started: %s", rank, first_line(error))
            with self._lock:
                self._starting -= 1
                self._last_death = f"rollout server {rank} could not be started: {first_line(error)}"
                self._not_before_s = self._clock() + REST_AFTER_A_FAILED_START_S
            if replica is not None:
                _release(replica, {})
            return
        with self._lock:
            self._starting -= 1
            self._actors[replica] = actors
            self.started.append(replica)
            self.counts["started"] += 1


def _named(replica: RolloutReplica) -> _Actors:
    """The actors without which a replica is lost."""
    actors = [*replica.servers, *replica.workers]
    # A lambda travels as it is: a function of this module would have every server import it.
    asked = [actor.__ray_call__.remote(lambda _: ray.get_runtime_context().get_actor_name()) for actor in actors]
    names = ray.get(asked)
    return {name: actor for name, actor in zip(names, actors, strict=True) if name}


def _release(replica: RolloutReplica, actors: _Actors) -> None:
    """End what is left of it and give its devices back."""
    for actor in actors.values():
        ray.kill(actor)
    for group in (replica.resource_pool and replica.resource_pool.pgs) or ():
        ray.util.remove_placement_group(group)


def _look_after(rank: int) -> None:
    """Tell the supervisor, for which a dead server would be the end of the run."""
    if (monitor := find_monitor()) is not None:
        ray.get(monitor.look_after.remote(rank))


def _asked_for() -> int:
    """Servers that somebody wants since (``Monitor.ask_for_servers``)."""
    monitor = find_monitor()
    return 0 if monitor is None else ray.get(monitor.take_asked.remote())
