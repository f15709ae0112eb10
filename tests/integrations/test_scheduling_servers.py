"""Rollout servers that die and come: real Ray, verl's manager, balancer and publication, small servers."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import ray
from made_servers import MadeWorker, made_manager, made_publication
from ray.exceptions import RayActorError
from verl.workers.rollout.replica import RolloutReplica

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.monitor import start_monitor
from pangu_verl.integrations.verl.scheduling.rollout import servers as servers_module
from pangu_verl.integrations.verl.scheduling.rollout.publications import Publisher
from pangu_verl.integrations.verl.scheduling.rollout.servers import (
    MOST_STARTS_PER_HOUR,
    REST_AFTER_A_FAILED_START_S,
    REST_AFTER_A_LOSS_S,
    Servers,
)

pytestmark = pytest.mark.own_process

SERVERS = 2
#: Room for one server more than a run begins with.
CPUS = SERVERS + 1
PATIENCE_S = 60.0
#: Ray knows the names of dead servers for a while, so no test uses those of another.
ranks = itertools.count(step=100)


class Now:
    """A clock that a test moves."""

    s = 0.0

    def __call__(self) -> float:
        return self.s


class Fleet:
    """Servers that are looked at when a test says so."""

    def __init__(self) -> None:
        self.now = Now()
        self.first_rank = next(ranks)
        self.manager = made_manager(SERVERS, self.first_rank)
        self.servers = Servers(self.manager, self.now)
        self.trainer = MadeWorker.options(num_cpus=0).remote()
        self.publisher = Publisher(made_publication(self.manager, self.trainer), self.servers, compares_weights=True)
        self.servers.start()
        self.servers.stop()

    @property
    def serving(self) -> list[RolloutReplica]:
        return self.servers.serving

    def numbers(self) -> list[int]:
        """Of the servers that serve, from 0 on."""
        return sorted(replica.replica_rank - self.first_rank for replica in self.serving)

    def balanced(self) -> list[str]:
        """Addresses that the balancer hands out."""
        return ray.get(self.manager.global_load_balancer.get_all_servers.remote())

    def lose(self, replica: RolloutReplica) -> None:
        kill(replica)
        assert self.servers.have_lost([replica])
        self.now.s += REST_AFTER_A_LOSS_S

    def fill(self) -> None:
        """Start what may be started, and wait for it."""
        before = set(threading.enumerate())
        self.servers._fill()
        for thread in set(threading.enumerate()) - before:
            thread.join(PATIENCE_S)

    def close(self) -> None:
        for replica in [*self.serving, *self.servers.started]:
            servers_module._release(replica, self.servers._actors[replica])


def kill(replica: RolloutReplica) -> None:
    dying = replica.server_handle.die_at.remote("now")
    with pytest.raises(RayActorError):
        ray.get(dying, timeout=PATIENCE_S)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def version_of(replica: RolloutReplica) -> int | None:
    return ray.get(replica.server_handle.state.remote())[0]


def interruptions_of(replica: RolloutReplica) -> int:
    return ray.get(replica.server_handle.state.remote())[1]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=CPUS, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    yield fleet
    fleet.close()


def test_a_server_that_died_gets_no_request_any_more(fleet: Fleet) -> None:
    first, second = fleet.serving
    fleet.lose(first)
    assert fleet.serving == [second]
    assert fleet.balanced() == [second.server_address]
    assert fleet.manager.server_handles == [second.server_handle]
    assert fleet.manager.rollout_replicas == [second]


def test_a_server_is_lost_with_the_worker_that_takes_its_weights(fleet: Fleet) -> None:
    first, second = fleet.serving
    ray.kill(first.workers[0])
    assert fleet.servers.have_lost([first])
    assert fleet.serving == [second]
    with pytest.raises(RayActorError):
        ray.get(first.server_handle.state.remote(), timeout=PATIENCE_S)


def test_living_servers_are_not_taken_for_lost(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_module, "_PATIENCE_S", 0.0)
    assert not fleet.servers.have_lost(fleet.serving)
    assert len(fleet.serving) == SERVERS


def test_another_server_takes_its_place_with_the_weights_of_the_next_publication(fleet: Fleet) -> None:
    fleet.publisher.update_weights(1)
    fleet.lose(fleet.serving[0])
    fleet.fill()
    [new] = fleet.servers.started
    assert new.server_address not in fleet.balanced()
    fleet.publisher.update_weights(2)
    assert fleet.numbers() == [1, 2]
    assert [version_of(replica) for replica in fleet.serving] == [2, 2]
    assert sorted(fleet.balanced()) == sorted(fleet.manager.server_addresses)
    assert fleet.servers.metrics() == {
        "scheduler/servers/min": 2.0,
        "scheduler/lost_servers_so_far/max": 1.0,
        "scheduler/started_servers_so_far/max": 1.0,
    }


def test_a_new_server_takes_the_present_weights_and_interrupts_nobody(fleet: Fleet) -> None:
    fleet.publisher.update_weights(1)
    fleet.lose(fleet.serving[0])
    fleet.fill()
    fleet.publisher.take_in(1)
    old, new = fleet.serving
    assert (version_of(new), interruptions_of(new)) == (1, 1)
    assert interruptions_of(old) == 1
    fleet.publisher.take_in(1)
    assert interruptions_of(new) == 1


def test_a_server_is_added_in_a_run(fleet: Fleet) -> None:
    fleet.servers.add()
    fleet.fill()
    fleet.publisher.update_weights(1)
    assert fleet.numbers() == [0, 1, 2]
    assert len(fleet.balanced()) == SERVERS + 1


def test_without_any_server_the_run_waits_for_the_next(fleet: Fleet) -> None:
    for replica in fleet.serving:
        fleet.lose(replica)
    fleet.servers.check()
    assert fleet.publisher.update_weights(1)["scheduler/servers/min"] == 0
    fleet.fill()
    fleet.publisher.take_in(1)
    assert fleet.numbers() == [2, 3]


def test_without_any_server_and_any_start_left_the_run_ends_with_the_name_of_the_last(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers_module, "MOST_STARTS_PER_HOUR", 0)
    first, second = fleet.serving
    fleet.lose(first)
    fleet.servers.check()
    fleet.lose(second)
    with pytest.raises(RunFailed, match=f"{second.server_address} died: The actor is dead because its worker process"):
        fleet.servers.check()


def test_only_so_many_are_started_within_an_hour(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_module, "MOST_STARTS_PER_HOUR", 1)
    fleet.lose(fleet.serving[0])
    fleet.fill()
    fleet.publisher.update_weights(1)
    fleet.lose(fleet.serving[1])
    fleet.fill()
    fleet.publisher.update_weights(2)
    assert fleet.numbers() == [1]
    fleet.now.s += 3600
    fleet.fill()
    fleet.publisher.update_weights(3)
    assert fleet.numbers() == [1, 3]


def test_a_start_that_fails_is_tried_again_after_a_rest(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet.manager.rollout_replica_class, "broken", frozenset({fleet.first_rank + 2}))
    fleet.lose(fleet.serving[0])
    fleet.fill()
    fleet.fill()
    assert not fleet.servers.started
    assert 0 < len(fleet.servers._starts_s) < MOST_STARTS_PER_HOUR
    fleet.now.s += REST_AFTER_A_FAILED_START_S
    fleet.fill()
    fleet.publisher.update_weights(1)
    assert fleet.numbers() == [1, 3]


def test_the_thread_notices_and_mends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_module, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(servers_module, "REST_AFTER_A_LOSS_S", 0.0)
    manager = made_manager(SERVERS, next(ranks))
    servers = Servers(manager)
    servers.start()
    try:
        first = servers.serving[0]
        kill(first)
        wait_until(lambda: bool(servers.started))
        assert first not in servers.serving
    finally:
        servers.stop()
        for replica in [*servers.serving, *servers.started]:
            servers_module._release(replica, servers._actors[replica])


def test_the_supervisor_is_told_whom_it_need_not_watch_and_servers_can_be_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers_module, "LOOK_EVERY_S", 0.01)
    monitor = start_monitor()
    first_rank = next(ranks)
    servers = Servers(made_manager(SERVERS, first_rank))
    servers.start()
    try:
        ray.get(monitor.ask_for_servers.remote(1))
        wait_until(lambda: bool(servers.started))
        assert ray.get(monitor.looked_after.remote()) == {first_rank, first_rank + 1, first_rank + 2}
    finally:
        servers.stop()
        for replica in [*servers.serving, *servers.started]:
            servers_module._release(replica, servers._actors[replica])
        ray.kill(monitor)


def test_servers_that_are_no_actors_of_their_own_are_not_looked_after() -> None:
    manager = made_manager(SERVERS, next(ranks))
    actors = {replica: servers_module._named(replica) for replica in manager.rollout_replicas}
    for replica in manager.rollout_replicas:
        replica.servers = [object()]
    servers = Servers(manager)
    servers.start()
    servers.stop()
    assert not servers.have_lost(manager.rollout_replicas)
    assert len(servers.serving) == SERVERS
    for replica, named in actors.items():
        servers_module._release(replica, named)
