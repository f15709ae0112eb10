"""The watch over a run, on a real Ray: a worker that dies or reports a failure ends the run, by name.

The task runner is a fake for the control plane alone: it stands where verl's trainer stands and trains nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError, RayTaskError

from pangu_verl.integrations.verl import supervisor as supervisor_module
from pangu_verl.integrations.verl.monitor import Monitor, find_monitor, report_failure
from pangu_verl.integrations.verl.supervisor import Supervisor

SERVER = "pangu_cpu_server_0"
PATIENCE_S = 60


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def actor_classes() -> tuple[Any, Any, Any]:
    """Made in a function, so that Ray ships them by value: a worker cannot import this file."""

    class Gate:
        """Holds a run until a test opens it."""

        def __init__(self) -> None:
            self.close()

        def close(self) -> None:
            import asyncio

            self._open = asyncio.Event()

        async def wait(self) -> None:
            await self._open.wait()

        async def open(self) -> None:
            self._open.set()

    class Server:
        """A worker that a run cannot do without."""

        def process_id(self) -> int:
            import os

            return os.getpid()

        def serve(self) -> None:
            import threading

            threading.Event().wait()

        def leave(self) -> None:
            import ray

            ray.actor.exit_actor()

    class FakeTaskRunner:
        """A fake of verl's task runner: waits where verl would train."""

        def run(self, config: dict[str, Any]) -> None:
            import ray

            if "server" in config:
                ray.get(config["server"].serve.remote())
            ray.get(config["gate"].wait.remote())
            if "error" in config:
                raise config["error"]
            if "facts" in config:
                from pangu_verl.integrations.verl.monitor import find_monitor

                ray.get(find_monitor().record.remote("servers", config["facts"]))

    return tuple(ray.remote(num_cpus=0)(kind) for kind in (Gate, Server, FakeTaskRunner))


@pytest.fixture(scope="module")
def gate(cluster: None) -> Any:
    return actor_classes()[0].remote()


class Watched:
    """A run of the fake task runner under a supervisor. Starting a worker takes Ray a second, so there are few."""

    def __init__(self, looks: Looks, gate: Any) -> None:
        ray.get(gate.close.remote())
        self.looks = looks
        self._gate = gate
        _, self._server_class, runner_class = actor_classes()
        self.supervisor = Supervisor(runner_class)
        self._runner = self.supervisor.remote()
        self._workers: list[Any] = []

    def server(self, name: str = SERVER) -> Any:
        """Start a named worker."""
        worker = self._server_class.options(name=name).remote()
        ray.get(worker.process_id.remote())
        self._workers.append(worker)
        return worker

    def let_go(self, worker: Any) -> None:
        """Drop the last reference that is held here."""
        self._workers.remove(worker)

    def begin(self, **config: Any) -> None:
        self._result = self._runner.run.remote({"gate": self._gate, **config})
        self.looks.wait_for_next()

    def finish(self) -> None:
        ray.get(self._gate.open.remote())

    def end(self) -> Exception | None:
        """What the driver sees of the run's end."""
        try:
            ray.get(self._result, timeout=PATIENCE_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is asked for
            return error
        finally:
            self.supervisor.settle()
        return None

    def close(self) -> None:
        self.supervisor.stop()
        for actor in (*self._workers, self.supervisor._runner, self.supervisor._monitor):
            ray.kill(actor)
        wait_for_death(self.supervisor._monitor)
        for worker in self._workers:
            wait_for_death(worker)


def wait_for_death(actor: Any) -> None:
    with contextlib.suppress(RayActorError):
        while True:
            ray.get(actor.__ray_ready__.remote(), timeout=PATIENCE_S)


class Looks:
    """Tells when the watch has looked at the workers once more."""

    def __init__(self) -> None:
        self._happened = threading.Condition()
        self.count = 0

    def note(self) -> None:
        with self._happened:
            self.count += 1
            self._happened.notify_all()

    def wait_for_next(self, number: int = 1) -> None:
        with self._happened:
            wanted = self.count + number
            assert self._happened.wait_for(lambda: self.count >= wanted, timeout=PATIENCE_S)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    looks = Looks()
    look = Supervisor._dead_worker

    def noted(self: Supervisor) -> str | None:
        found = look(self)
        looks.note()
        return found

    monkeypatch.setattr(Supervisor, "_dead_worker", noted)
    monkeypatch.setattr(supervisor_module, "_LOOK_EVERY_S", 0.02)
    return looks


@pytest.fixture
def watched(looks: Looks, gate: Any) -> Iterator[Watched]:
    run = Watched(looks, gate)
    yield run
    run.close()


def kill(worker: Any) -> None:
    os.kill(ray.get(worker.process_id.remote()), signal.SIGKILL)


def test_a_killed_server_ends_the_run_by_its_name(watched: Watched) -> None:
    server = watched.server()
    watched.begin()
    kill(server)
    assert isinstance(watched.end(), RayActorError)
    failure = watched.supervisor.failure
    assert failure is not None
    assert failure.startswith(f"{SERVER} died: The actor is dead because its worker process has died")
    assert "\n" not in failure


def test_a_killed_server_is_named_when_the_run_fails_of_it_first(watched: Watched) -> None:
    server = watched.server()
    process = ray.get(server.process_id.remote())
    watched.begin(server=server)
    os.kill(process, signal.SIGKILL)
    assert watched.end() is not None
    assert watched.supervisor.failure is not None
    assert watched.supervisor.failure.startswith(f"{SERVER} died: ")


def test_a_reported_failure_ends_the_run_with_its_message(watched: Watched) -> None:
    watched.begin()
    report_failure("the reward returned 'good'")
    assert isinstance(watched.end(), RayActorError)
    assert watched.supervisor.failure == "the reward returned 'good'"


def test_of_several_reports_the_first_counts() -> None:
    monitor = Monitor()
    assert monitor.failure() is None
    monitor.report("first")
    monitor.report("second")
    assert monitor.failure() == "first"


def test_a_good_end_has_no_failure_and_delivers_facts(watched: Watched) -> None:
    watched.begin(facts=[{"busy_s": 1.5}])
    watched.finish()
    assert watched.end() is None
    assert watched.supervisor.failure is None
    assert watched.supervisor.facts == {"servers": [{"busy_s": 1.5}]}


def test_a_run_that_raises_keeps_its_own_error(watched: Watched) -> None:
    watched.begin(error=ValueError("out of luck"))
    watched.finish()
    error = watched.end()
    assert isinstance(error, RayTaskError)
    assert str(error.cause) == "out of luck"
    assert watched.supervisor.failure is None


def test_workers_that_end_in_good_order_are_no_failure(watched: Watched) -> None:
    killed, left, forgotten = (watched.server(f"server_{index}") for index in range(3))
    watched.begin()
    watched.looks.wait_for_next(2)
    assert set(watched.supervisor._known) == {"server_0", "server_1", "server_2"}
    ray.kill(killed)
    left.leave.remote()
    watched.let_go(forgotten)
    watched.supervisor._known.pop("server_2")
    del forgotten
    wait_for_death(killed)
    wait_for_death(left)
    watched.looks.wait_for_next(3)
    watched.finish()
    assert watched.end() is None
    assert watched.supervisor.failure is None


def test_a_server_that_somebody_looks_after_may_die(watched: Watched) -> None:
    server = watched.server("server_7_0")
    watched.begin()
    ray.get(watched.supervisor._monitor.look_after.remote(7))
    kill(server)
    wait_for_death(server)
    watched.looks.wait_for_next(2)
    watched.finish()
    assert watched.end() is None
    assert watched.supervisor.failure is None


def test_a_killed_task_runner_is_named_and_not_those_who_went_with_it(watched: Watched) -> None:
    watched.server()
    process = ray.get(watched.supervisor._runner.__ray_call__.remote(lambda _: os.getpid()))
    watched.begin()
    os.kill(process, signal.SIGKILL)
    assert isinstance(watched.end(), RayActorError)
    assert watched.supervisor.failure is not None
    assert watched.supervisor.failure.startswith("task runner died: The actor ")


def test_an_actor_that_the_run_can_do_without_is_not_watched(watched: Watched) -> None:
    other = watched.server("somebody_elses_actor")
    watched.begin()
    watched.looks.wait_for_next()
    kill(other)
    wait_for_death(other)
    watched.looks.wait_for_next(2)
    watched.finish()
    assert watched.end() is None
    assert watched.supervisor.failure is None


def test_after_stop_the_watch_speaks_to_ray_no_more(watched: Watched) -> None:
    watched.begin()
    watched.supervisor.stop()
    assert watched.supervisor._thread is not None
    assert not watched.supervisor._thread.is_alive()


def test_stop_before_the_start_does_nothing() -> None:
    supervisor = Supervisor(None)
    supervisor.stop()
    assert (supervisor.failure, supervisor.facts) == (None, {})


def test_outside_a_run_a_failure_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert find_monitor() is None
    report_failure("nobody listens")
    assert "nobody listens" in caplog.text
