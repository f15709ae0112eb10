"""One small Ray actor per run that keeps what would else be lost in a worker's log.

verl logs a failing reward or server and goes on with fewer trajectories; the driver polls this actor and ends the run
with the reason instead. It also carries what the task runner knows at the end (the servers' busy and idle time), which
servers somebody looks after, and how many more somebody asked for.
"""

from __future__ import annotations

import logging
from typing import Any

import ray

MONITOR_NAME = "pangu_verl_monitor"

logger = logging.getLogger(__name__)


class Monitor:
    """The first failure that a worker reported, if any, and facts for the run's record."""

    def __init__(self) -> None:
        self._failure: str | None = None
        self._facts: dict[str, Any] = {}
        self._looked_after: set[int] = set()
        self._asked = 0

    def report(self, message: str) -> None:
        self._failure = self._failure or message

    def failure(self) -> str | None:
        return self._failure

    def record(self, name: str, value: Any) -> None:
        self._facts[name] = value

    def facts(self) -> dict[str, Any]:
        return self._facts

    def look_after(self, rank: int) -> None:
        """The death of a server of replica ``rank`` is no longer the end of the run."""
        self._looked_after.add(rank)

    def looked_after(self) -> set[int]:
        return self._looked_after

    def ask_for_servers(self, number: int) -> None:
        """For a cluster that has grown: so many more rollout servers are started on devices that Ray has free."""
        self._asked += number

    def take_asked(self) -> int:
        asked, self._asked = self._asked, 0
        return asked


def start_monitor() -> ray.actor.ActorHandle:
    """Start the run's monitor; it lives as long as the driver."""
    return ray.remote(Monitor).options(name=MONITOR_NAME, num_cpus=0).remote()


def find_monitor() -> ray.actor.ActorHandle | None:
    """The run's monitor; None under verl's own entry point, which starts none."""
    try:
        return ray.get_actor(MONITOR_NAME)
    except ValueError:
        return None


def report_failure(message: str) -> None:
    """Tell the driver, from any process of the run."""
    logger.error(message)
    if (monitor := find_monitor()) is not None:
        ray.get(monitor.report.remote(message))
