"""verl's asynchronous client with notes of versions: real balancer and Ray, servers that answer from a script."""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from omegaconf import OmegaConf
from verl.workers.rollout.replica import TokenOutput
from verl.workers.rollout.router import GlobalRequestLoadBalancer

from pangu_verl.integrations.verl.scheduling.rollout.client import RecordingClient
from pangu_verl.integrations.verl.scheduling.rollout.notices import Began, Ended, Mailbox, Notice

pytestmark = pytest.mark.own_process

CONFIG = OmegaConf.create({"actor_rollout_ref": {"rollout": {"name": "vllm", "response_length": 16}}})
#: Version, tokens and stop reason of each answer, in order.
Script = list[tuple[int | None, int, str]]


@ray.remote(num_cpus=0)
class ScriptedServer:
    """Stands for a rollout server, which needs a device: it is interrupted by weights when the script says so."""

    def __init__(self) -> None:
        self._aborted: list[str] = []
        self._named: list[str] = []

    def follow(self, script: Script) -> None:
        self._script = list(script)

    async def generate(self, request_id: str, **_: Any) -> TokenOutput:
        self._named.append(request_id)
        version, tokens, reason = self._script.pop(0)
        if reason == "never":
            await asyncio.Event().wait()
        return TokenOutput(
            token_ids=[7] * tokens,
            log_probs=[-0.5] * tokens,
            stop_reason=reason,
            num_preempted=0,
            extra_fields={"global_steps": version},
        )

    async def abort_request(self, request_id: str, reset_prefix_cache: bool) -> None:
        self._aborted.append(request_id)

    async def names(self) -> tuple[list[str], list[str]]:
        """Of the requests that came, and of those that were aborted."""
        return self._named, self._aborted


class Servers:
    """One server behind verl's balancer."""

    def __init__(self) -> None:
        self.server = ScriptedServer.remote()
        self._balancer = ray.remote(num_cpus=0)(GlobalRequestLoadBalancer).remote({"server": self.server})

        self.mailbox = ray.remote(num_cpus=0)(Mailbox).remote()

    def client(self, script: Script) -> RecordingClient:
        ray.get([self.server.follow.remote(script), self.mailbox.take.remote(0.01)])
        return RecordingClient(CONFIG, self._balancer, mailbox=self.mailbox)

    def notices(self, number: int) -> list[Notice]:
        """The next so many."""
        found: list[Notice] = []
        while len(found) < number:
            found += ray.get(self.mailbox.take.remote(10.0))
        return found


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield Servers()
    ray.shutdown()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """verl's client sleeps for a second after an interruption."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds, *rest: sleep(0, *rest))


async def turns(client: RecordingClient, request_id: str, number: int) -> list[dict[str, Any]]:
    return [
        (await client.generate(request_id=request_id, prompt_ids=[1, 2], sampling_params={})).extra_fields
        for _ in range(number)
    ]


def test_each_attempt_is_noted_with_its_version(servers: Servers) -> None:
    client = servers.client([(3, 4, "abort"), (4, 0, "abort"), (5, 2, "stop")])
    [found] = asyncio.run(turns(client, "request", 1))
    assert list(found["segments"]) == [(3, 4), (5, 2)]
    assert (found["min_global_steps"], found["max_global_steps"]) == (3, 5)


def test_a_loop_that_keeps_its_first_turns_fields_has_the_notes_of_all_turns(servers: Servers) -> None:
    client = servers.client([(3, 4, "stop"), (3, 1, "abort"), (4, 2, "stop")])
    first, _ = asyncio.run(turns(client, "request", 2))
    assert list(first["segments"]) == [(3, 4), (3, 1), (4, 2)]


def test_requests_have_notes_of_their_own(servers: Servers) -> None:
    client = servers.client([(3, 4, "stop"), (3, 1, "stop")])
    first, other = asyncio.run(turns(client, "one", 1)) + asyncio.run(turns(client, "two", 1))
    assert (list(first["segments"]), list(other["segments"])) == ([(3, 4)], [(3, 1)])


def test_a_server_that_stamps_no_version_is_noted_as_such(servers: Servers) -> None:
    [found] = asyncio.run(turns(servers.client([(None, 4, "stop")]), "request", 1))
    assert list(found["segments"]) == [(None, 4)]


def test_notes_travel_as_plain_pairs_and_end_with_their_request(servers: Servers) -> None:
    client = servers.client([(3, 4, "stop")])
    [found] = asyncio.run(turns(client, "request", 1))
    assert pickle.loads(pickle.dumps(found["segments"])) == [(3, 4)]
    del found
    gc.collect()
    assert len(client.__dict__["_notes_by_request"]) == 0


def test_it_is_told_where_each_attempt_began_and_what_came_of_it(servers: Servers) -> None:
    asyncio.run(turns(servers.client([(3, 4, "abort"), (4, 0, "abort"), (5, 2, "stop")]), "request", 1))
    notices = servers.notices(6)
    ended = [notice for notice in notices if isinstance(notice, Ended)]
    assert [(notice.replica, notice.version, notice.tokens) for notice in ended] == [
        ("server", 3, 4),
        ("server", None, 0),
        ("server", 5, 2),
    ]
    assert [notice.at_s for notice in notices if isinstance(notice, Began)] == [notice.began_s for notice in ended]
    assert all(notice.began_s <= notice.ended_s for notice in ended)


def test_a_request_that_nobody_waits_for_any_more_is_aborted_by_its_name(servers: Servers) -> None:
    async def leave(client: RecordingClient) -> None:
        waiting = asyncio.ensure_future(turns(client, "request", 1))
        while not isinstance((await servers.mailbox.take.remote(10.0))[-1], Began):
            pass
        while len((await servers.server.names.remote())[0]) == came_before:
            pass
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    client = servers.client([(3, 4, "never")])
    came_before = len(ray.get(servers.server.names.remote())[0])
    asyncio.run(leave(client))
    [ended] = servers.notices(1)
    assert isinstance(ended, Ended)
    assert ended.tokens == 0
    named, aborted = ray.get(servers.server.names.remote())
    assert aborted == named[-1:]
