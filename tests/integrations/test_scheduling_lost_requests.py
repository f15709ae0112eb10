"""Requests whose server dies: they go on at another, with the tokens that they have. Real balancer, client and Ray."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from omegaconf import OmegaConf
from ray.exceptions import RayActorError
from verl.workers.rollout.replica import TokenOutput
from verl.workers.rollout.router import GlobalRequestLoadBalancer

from pangu_verl.integrations.verl.scheduling.rollout.client import RecordingClient
from pangu_verl.integrations.verl.scheduling.rollout.notices import Mailbox

pytestmark = pytest.mark.own_process

CONFIG = OmegaConf.create({"actor_rollout_ref": {"rollout": {"name": "vllm", "response_length": 16}}})
PATIENCE_S = 60.0


@ray.remote(num_cpus=0)
class Server:
    """Answers ``answers`` times with ``tokens`` tokens of ``version``, interrupted, and then dies; None: lives."""

    def __init__(self, version: int, tokens: int, answers: int | None) -> None:
        self._version, self._tokens, self._answers = version, tokens, answers

    async def generate(self, **_: Any) -> TokenOutput:
        import os
        import signal

        if self._answers == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._answers is not None:
            self._answers -= 1
        return TokenOutput(
            token_ids=[self._version] * self._tokens,
            log_probs=[-0.5] * self._tokens,
            stop_reason="stop" if self._answers is None else "aborted",
            num_preempted=0,
            extra_fields={"global_steps": self._version},
        )


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """verl's client sleeps for a second before it asks again."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds, *rest: sleep(0.01, *rest))


def balancer_of(servers: dict[str, Any]) -> Any:
    return ray.remote(num_cpus=0)(GlobalRequestLoadBalancer).remote(servers)


def generate(balancer: Any) -> TokenOutput:
    mailbox = ray.remote(num_cpus=0)(Mailbox).remote()
    client = RecordingClient(CONFIG, balancer, mailbox=mailbox, only_hybrid=True)
    return asyncio.run(client.generate(request_id="request", prompt_ids=[1, 2], sampling_params={}))


def test_a_request_whose_server_dies_goes_on_at_another_with_its_tokens() -> None:
    dying, living = Server.remote(3, 4, 1), Server.remote(5, 2, None)
    balancer = balancer_of({"dying": dying})

    def look_after() -> None:
        with contextlib.suppress(RayActorError):
            while True:
                ray.get(dying.__ray_ready__.remote(), timeout=PATIENCE_S)
        ray.get(balancer.remove_servers.remote(["dying"]))
        ray.get(balancer.add_servers.remote({"living": living}))

    watch = threading.Thread(target=look_after)
    watch.start()
    output = generate(balancer)
    watch.join()
    assert output.token_ids == [3, 3, 3, 3, 5, 5]
    assert len(output.log_probs or []) == 6
    assert list(output.extra_fields["segments"]) == [(3, 4), (5, 2)]
    assert (output.extra_fields["min_global_steps"], output.extra_fields["max_global_steps"]) == (3, 5)


def test_a_request_that_had_no_token_yet_has_none_of_the_dead_server() -> None:
    dying, living = Server.remote(3, 4, 0), Server.remote(5, 2, None)
    with pytest.raises(RayActorError):
        ray.get(dying.generate.remote())
    balancer = balancer_of({"dying": dying})
    asked = threading.Timer(0.2, lambda: ray.get(balancer.remove_servers.remote(["dying"])))
    added = threading.Timer(0.2, lambda: ray.get(balancer.add_servers.remote({"living": living})))
    asked.start()
    added.start()
    output = generate(balancer)
    assert output.token_ids == [5, 5]
    assert output.extra_fields["min_global_steps"] == 5


def test_without_a_balancer_nobody_waits_for_ever() -> None:
    balancer = balancer_of({})
    ray.kill(balancer)
    with pytest.raises(RayActorError):
        generate(balancer)
