"""Publications while rollout servers die, and servers that hold other weights: real Ray and verl, small servers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import ray
from made_servers import MadeWorker, made_manager, made_publication
from ray.exceptions import RayTaskError
from verl.checkpoint_engine import CheckpointEngineRegistry
from verl.workers.config import CheckpointEngineConfig
from verl.workers.rollout.replica import RolloutReplica

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.scheduling.rollout import publications, servers
from pangu_verl.integrations.verl.scheduling.rollout.publications import Publisher, compare_weights
from pangu_verl.integrations.verl.scheduling.rollout.servers import Servers

pytestmark = pytest.mark.own_process

SERVERS = 2
PATIENCE_S = 60.0
#: What verl and the transport call on a server in a publication, in order, and our comparison after it.
CALLS = (
    "abort_all_requests",
    "release_kv_cache",
    "take",
    "resume_kv_cache",
    "resume_generation",
    "weights_checksum",
)


class Fleet:
    def __init__(self, first_rank: int) -> None:
        manager = made_manager(SERVERS, first_rank)
        self.trainer = MadeWorker.options(num_cpus=0).remote()
        self.servers = Servers(manager)
        self.publisher = Publisher(made_publication(manager, self.trainer), self.servers, compares_weights=True)
        self.servers.start()
        self.servers.stop()

    @property
    def serving(self) -> list[RolloutReplica]:
        return self.servers.serving

    def tell(self, number: int, call: str, *arguments: object) -> None:
        ray.get(getattr(self.serving[number].server_handle, call).remote(*arguments))

    def versions(self) -> list[int | None]:
        return [ray.get(replica.server_handle.state.remote())[0] for replica in self.serving]


@pytest.fixture(scope="module")
def ranks() -> Iterator[Iterator[int]]:
    ray.init(num_cpus=SERVERS, include_dashboard=False, log_to_driver=False)
    yield itertools.count(step=SERVERS)
    ray.shutdown()


@pytest.fixture
def fleet(ranks: Iterator[int]) -> Iterator[Fleet]:
    fleet = Fleet(next(ranks))
    yield fleet
    for replica in fleet.serving:
        servers._release(replica, fleet.servers._actors[replica])


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_dies_in_a_publication_does_not_keep_it_from_the_others(fleet: Fleet, call: str) -> None:
    dying, living = fleet.serving
    fleet.tell(0, "die_at", call)
    metrics = fleet.publisher.update_weights(4)
    assert metrics["scheduler/weights_checksum_replicas/max"] == 1
    assert fleet.servers.have_lost([dying])
    assert fleet.serving == [living]
    assert fleet.versions() == [4]


def test_metrics_of_verls_transport_are_kept(fleet: Fleet) -> None:
    metrics = fleet.publisher.update_weights(1)
    assert metrics["made/sent/max"] == 1
    assert metrics["scheduler/weights_checksum_replicas/max"] == SERVERS


def test_nothing_is_sent_anew_while_the_trainer_still_sends(fleet: Fleet) -> None:
    ray.get(fleet.trainer.send_slowly.remote(0.3))
    fleet.tell(0, "die_at", "take")
    fleet.publisher.update_weights(1)
    assert ray.get(fleet.trainer.most_sent_at_a_time.remote()) == 1


def test_a_transport_that_does_not_come_back_ends_the_run_by_name(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publications, "LONGEST_SENDING_S", 0.0)
    ray.get(fleet.trainer.send_slowly.remote(PATIENCE_S))
    fleet.tell(0, "die_at", "take")
    with pytest.raises(RunFailed, match=r"still send version 1 .* the transport made does not come back"):
        fleet.publisher.update_weights(1)


def test_an_error_of_the_living_is_raised(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_PATIENCE_S", 0.0)
    ray.get(fleet.trainer.send_slowly.remote("not a number"))
    with pytest.raises(RayTaskError):
        fleet.publisher.update_weights(1)
    assert len(fleet.serving) == SERVERS


def test_servers_with_other_weights_end_the_run_by_name_and_version(fleet: Fleet) -> None:
    fleet.publisher.update_weights(1)
    fleet.tell(0, "spoil")
    names = [replica.server_address for replica in fleet.serving]
    with pytest.raises(RunFailed, match=rf"version 1: a at {names[1]}\[0\]; b at {names[0]}\[0\]"):
        compare_weights(fleet.serving, 1)


def test_servers_that_cannot_tell_are_not_asked() -> None:
    replica = SimpleNamespace(server_address="somewhere", servers=[object()])
    assert compare_weights([replica], 1) == {}  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("options", "survives"), [({}, False), ({"rebuild_group": False}, False), ({"rebuild_group": True}, True)]
)
def test_a_transport_with_a_process_group_survives_losses_if_it_rebuilds_it(
    options: dict[str, bool], survives: bool
) -> None:
    class Grouped:
        def __init__(self, bucket_size: int, rebuild_group: bool = False) -> None: ...

    CheckpointEngineRegistry.register("grouped")(Grouped)
    config = CheckpointEngineConfig(backend="grouped", engine_kwargs={"grouped": options})
    made = SimpleNamespace(config=config, actor_wg=None)
    assert Publisher(made, None, compares_weights=False).survives_losses is survives  # type: ignore[arg-type]


def test_a_transport_without_a_process_group_survives_losses(fleet: Fleet) -> None:
    assert fleet.publisher.survives_losses
