"""Watches a run from the driver: a worker that dies or a reported failure ends the run, by name.

verl takes the death of a rollout server for trajectories that did not arrive, and may end as if all were well. The
supervisor wraps verl's task runner: it lists the run's named actors, notices the one that is gone, and stops the
runner; servers that somebody looks after (``Monitor.look_after``) may go. Invariant: after ``stop`` nothing here speaks
to Ray, since a call to a Ray that is down would start another.
"""

from __future__ import annotations

import re
import threading
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from pangu_verl.integrations.verl.monitor import start_monitor

_LOOK_EVERY_S = 1.0
#: Ray names of the actors that a run cannot do without.
_ESSENTIAL = re.compile(
    r"server|reward_loop_worker|agent_loop_worker|WorkerDict|TransferQueue|pangu_mars_state|pangu_notices",
    re.IGNORECASE,
)
#: How verl and we name the server of a replica, by its rank.
_SERVER = re.compile(r"server_(\d+)")
#: The part of Ray's long text that says why.
_CAUSE_OF_DEATH = re.compile(
    r"(The actor is dead because|The actor died because of|Worker unexpectedly exits)[^.]*\.[^.]*"
)


class Supervisor:
    """Stands in for verl's task-runner class: ``run_ppo`` calls ``remote()`` and then ``run.remote(config)``."""

    def __init__(self, task_runner_class: Any) -> None:
        self._task_runner_class = task_runner_class
        self._monitor: ray.actor.ActorHandle | None = None
        self._runner: ray.actor.ActorHandle | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._known: dict[str, ray.actor.ActorHandle] = {}
        #: Why the run was stopped, if it was.
        self.failure: str | None = None
        #: What the task runner recorded at the end.
        self.facts: dict[str, Any] = {}

    def remote(self) -> Supervisor:
        self._monitor = start_monitor()
        self._runner = self._task_runner_class.remote()
        return self

    @property
    def run(self) -> Supervisor._Run:
        return Supervisor._Run(self)

    class _Run:
        def __init__(self, supervisor: Supervisor) -> None:
            self._supervisor = supervisor

        def remote(self, config: Any) -> ray.ObjectRef:
            supervisor = self._supervisor
            assert supervisor._runner is not None
            result = supervisor._runner.run.remote(config)
            supervisor._thread = threading.Thread(target=supervisor._watch, args=(result,), daemon=True)
            supervisor._thread.start()
            return result

    def settle(self) -> None:
        """Wait until the watch has seen the end of the run."""
        if self._thread is not None:
            self._thread.join(timeout=10)

    def stop(self) -> None:
        """End the watch, however far it has come; to be called before Ray is shut down."""
        self._stopped.set()
        self.settle()

    def _watch(self, result: ray.ObjectRef) -> None:
        assert self._monitor is not None
        while not self._stopped.is_set():
            has_ended = bool(ray.wait([result], timeout=_LOOK_EVERY_S)[0])
            if self._stopped.is_set():
                return
            failure = ray.get(self._monitor.failure.remote())
            error = _error_of(result) if has_ended else None
            if failure is None and isinstance(error, RayActorError) and not isinstance(error, RayTaskError):
                failure = f"task runner died: {_cause_of_death(error)}"
            # At a good end workers leave as well, which is no failure.
            if failure is None and not (has_ended and error is None):
                failure = self._dead_worker()
            self.failure = failure
            if has_ended:
                self.facts = ray.get(self._monitor.facts.remote())
                return
            if failure is not None:
                ray.kill(self._runner)
                return

    def _dead_worker(self) -> str | None:
        living = {name for name in ray.util.list_named_actors() if _ESSENTIAL.search(name)}
        for name in sorted(self._known.keys() - living):
            reason = reason_of_death(self._known[name])
            if reason is not None and not self._is_looked_after(name):
                return f"{name} died: {reason}"
            del self._known[name]
        for name in living - self._known.keys():
            try:
                self._known[name] = ray.get_actor(name)
            except ValueError:
                continue
        return None

    def _is_looked_after(self, name: str) -> bool:
        assert self._monitor is not None
        server = _SERVER.search(name)
        return server is not None and int(server.group(1)) in ray.get(self._monitor.looked_after.remote())


def _error_of(result: ray.ObjectRef) -> Exception | None:
    """What the run raised; the driver raises it again."""
    try:
        ray.get(result)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is asked for
        return error
    return None


def reason_of_death(actor: ray.actor.ActorHandle) -> str | None:
    """Ray's reason, or None if the actor lives or ended in good order."""
    try:
        ray.get(actor.__ray_ready__.remote(), timeout=30)
    except RayActorError as error:
        return _cause_of_death(error)
    except GetTimeoutError:
        return None
    return None


def _cause_of_death(error: RayActorError) -> str | None:
    text = " ".join(str(error).split())
    if "ray.kill" in text or "out of scope" in text or "INTENDED" in text:
        return None
    cause = _CAUSE_OF_DEATH.search(text)
    return cause.group(0) if cause else text[:300]
