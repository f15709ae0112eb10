"""verl's server interface in front of all paced replicas of a run: one Ray actor, and a handle for each server.

verl takes a handle for an actor: it calls methods by ``.remote``. A handle here goes to the one actor with the number
of its server, and stands for that server's checkpoint worker as well, so a server costs no process of its own.
Invariants: a completion carries the version that made it, in ``global_steps`` and in the log-probability of each token
(``journal``), which every trainer mode hands on untouched; no bytes of weights move.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import ray
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.rollout.replica import TokenOutput

from pangu_verl.errors import RunFailed
from pangu_verl.simulate.replicas import Replica
from pangu_verl_paced.fleet import Fleet
from pangu_verl_paced.journal import VERSION_UNIT
from pangu_verl_paced.lengths import NaturalLengths
from pangu_verl_paced.pacing import NOTICE, pacing
from pangu_verl_paced.prompts import number_of
from pangu_verl_paced.replicas import Attempt, PacedReplica

SERVER_NAME = "pangu_paced_server"
_CONCURRENCY = 20_000
#: Called on the actor itself.
_OF_RAY = ("__ray_call__", "__ray_ready__", "__ray_terminate__")


class PacedServer:
    """What the actor is. The first argument of all that verl calls is the number of the server."""

    def __init__(self, config: Any, model_config: Any) -> None:
        print(NOTICE, flush=True)
        self._pacing = pacing()
        self._config = omega_conf_to_dataclass(config)
        self._tokenizer = omega_conf_to_dataclass(model_config).tokenizer
        self._lengths = NaturalLengths(self._pacing.trace(self._config.n), len(self._tokenizer))
        self._fleets: dict[int, Fleet] = {}
        self._attempts: dict[str, Attempt] = {}
        self._serials = count()
        self._started_s = time.monotonic()

    def open(self, server: int, slots: int) -> None:
        """Make server ``server``, of as many replicas as ``slots`` are there for."""
        cluster = self._pacing.cluster
        replicas = [
            PacedReplica(
                Replica(index, cluster.decode_rates(), cluster.prefill_tokens_per_s), cluster.slots_per_replica
            )
            for index in range(slots // cluster.slots_per_replica)
        ]
        self._fleets[server] = Fleet(replicas, self._pacing)

    async def generate(
        self,
        server: int,
        prompt_ids: Sequence[int],
        sampling_params: Mapping[str, Any],
        request_id: str,
        priority: int = 0,
        **_: Any,
    ) -> TokenOutput:
        """One attempt. verl's asynchronous client counts the tokens that it brings along off ``max_tokens``."""
        response_tokens = self._config.response_length
        num_made = response_tokens - int(sampling_params.get("max_tokens") or response_tokens)
        split = len(prompt_ids) - num_made
        prompt = number_of(self._tokenizer.decode(prompt_ids[:split]))
        draw = self._lengths.draw(prompt, prompt_ids[split:])
        attempt = Attempt(
            key=str(prompt),
            member=draw,
            attempt=next(self._serials),
            tokens=self._lengths.tokens(prompt, draw) - num_made,
            prompt_tokens=len(prompt_ids),
            priority=priority,
        )
        self._attempts[request_id] = attempt
        try:
            await self._fleets[server].run(attempt)
        finally:
            is_wanted = self._attempts.pop(request_id, None) is not None
        if is_wanted and not num_made and not attempt.made_tokens:
            self._lengths.give_back(prompt, draw)
        return _answer(attempt, draw)

    async def abort_request(self, server: int, request_id: str, reset_prefix_cache: bool = True) -> dict[str, Any]:
        """Stop one request, which nobody waits for any more."""
        attempt = self._attempts.pop(request_id, None)
        if attempt is not None:
            self._fleets[server].stop(attempt)
        return {"aborted": attempt is not None, "request_id": request_id}

    async def abort_all_requests(
        self, server: int, reset_prefix_cache: bool = True, reject_request: bool = False
    ) -> dict[str, int | list[str]]:
        return {"aborted_count": self._fleets[server].pause(reject=reject_request), "request_ids": []}

    async def resume_generation(self, server: int) -> None:
        self._fleets[server].resume()

    async def update_weights(self, server: int, global_steps: int | None = None) -> None:
        """The weights are version ``global_steps`` now; the time that they took has passed at the sender."""
        if global_steps is None:
            raise RunFailed("verl published weights without global_steps, by which answers tell their version")
        self._fleets[server].publish(global_steps)

    async def set_global_steps(self, server: int, global_steps: int) -> None:
        self._fleets[server].publish(global_steps)

    async def execute_checkpoint_engine(self, server: int, method: str) -> dict[str, Any]:
        """The receiving end of ``transport``: there is nothing to receive."""
        return {}

    async def statistics(self, server: int) -> dict[str, Any]:
        """Slot-seconds of decoding and seconds since the start, both of the played cluster."""
        fleet = self._fleets[server]
        played_s = self._pacing.played_s(time.monotonic() - self._started_s)
        return {"busy_slot_s": fleet.busy_slot_s, "played_s": played_s, "version": fleet.version, "is_paced": True}

    async def wake_up(self, server: int, tags: list[str] | None = None) -> None:
        return None

    async def sleep(self, server: int) -> None:
        return None

    async def clear_kv_cache(self, server: int) -> None:
        return None

    async def release_kv_cache(self, server: int) -> None:
        return None

    async def resume_kv_cache(self, server: int) -> None:
        return None

    async def start_profile(self, server: int, **_: Any) -> None:
        return None

    async def stop_profile(self, server: int) -> None:
        return None


def _answer(attempt: Attempt, draw: int) -> TokenOutput:
    version = attempt.version or 0
    return TokenOutput(
        token_ids=[draw] * attempt.made_tokens,
        log_probs=[-version * VERSION_UNIT] * attempt.made_tokens,
        stop_reason="completed" if attempt.is_complete else "aborted",
        num_preempted=0,
        extra_fields={"global_steps": attempt.version},
    )


@dataclass(frozen=True)
class _Method:
    """What stands where verl expects a method of an actor."""

    method: Any
    leading: tuple[int, ...]

    def remote(self, *args: Any, **kwargs: Any) -> ray.ObjectRef:
        return self.method.remote(*self.leading, *args, **kwargs)


@dataclass(frozen=True)
class ServerHandle:
    """One server, as verl's balancer, clients and checkpoint engines hold it. Travels between processes."""

    actor: ray.actor.ActorHandle
    server: int

    def __getattr__(self, name: str) -> _Method:
        if name.startswith("_") and name not in _OF_RAY:
            raise AttributeError(name)
        return _Method(getattr(self.actor, name), () if name in _OF_RAY else (self.server,))


def start_server(config: Any, model_config: Any) -> ray.actor.ActorHandle:
    """The run's actor; the first who asks starts it. It lives as long as who started it."""
    actor: Any = ray.remote(PacedServer)
    options = {"name": SERVER_NAME, "get_if_exists": True, "num_cpus": 0, "max_concurrency": _CONCURRENCY}
    return actor.options(**options).remote(config, model_config)
