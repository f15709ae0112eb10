"""The client of the rollout servers, which also notes how many tokens each policy version made, where and when.

verl's asynchronous client calls its base class once for each attempt and keeps the first and the last version alone.
Invariants: what an agent loop gets and when is verl's; the notes of one request are one list, however many attempts
and turns it has, so a loop that keeps the extra fields of its first turn keeps those of all turns; a request that
nobody waits for any more is taken off its server, where the server can do so; one whose server dies goes on at another.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import ray
from ray.exceptions import RayActorError
from verl.workers.rollout.llm_server import FullyAsyncLLMServerClient, LLMServerClient
from verl.workers.rollout.replica import TokenOutput

from pangu_verl.integrations.verl.scheduling.rollout.notices import Began, Ended
from pangu_verl.integrations.verl.scheduling.segments import SEGMENTS


class _Notes(list[tuple[int | None, int]]):
    """A list that can be held weakly."""


@dataclass(slots=True)
class _Attempt:
    """What verl's client does with one request at one server. ``began_s`` is None until a server is found."""

    replica: str = ""
    server: ray.actor.ActorHandle | None = None
    server_request_id: str = ""
    began_s: float | None = None

    def abort(self) -> None:
        """Tell the server, if it can stop one request (vLLM and ours can); others make its tokens for nothing."""
        if self.server is not None and self.server_request_id and hasattr(self.server, "abort_request"):
            # What others keep in the prefix cache stays.
            self.server.abort_request.remote(self.server_request_id, reset_prefix_cache=False)


#: Of the request that the present asyncio task makes.
_attempt: ContextVar[_Attempt] = ContextVar("attempt")


class _AttemptRecorder(LLMServerClient):
    """Comes after verl's client in the order of resolution, so that it sees every attempt."""

    def __init__(self, *args: Any, mailbox: ray.actor.ActorHandle, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mailbox = mailbox

    def _notes(self, request_id: str) -> _Notes:
        # Not made in __init__: the client travels to the agent-loop workers, and weak references do not.
        by_request = self.__dict__.setdefault("_notes_by_request", WeakValueDictionary())
        return by_request.setdefault(request_id, _Notes())

    async def generate(self, request_id: str, **request: Any) -> TokenOutput:
        attempt = _Attempt()
        _attempt.set(attempt)
        version, tokens = None, 0
        try:
            output = await super().generate(request_id, **request)
            version, tokens = output.extra_fields.get("global_steps"), len(output.token_ids)
            if tokens:
                self._notes(request_id).append((version, tokens))
            return output
        except asyncio.CancelledError:
            attempt.abort()
            raise
        except RayActorError:
            if attempt.began_s is None:
                raise  # there is nobody who could name a server
            # To verl's client it was interrupted: it goes on elsewhere with the tokens of its earlier attempts.
            return TokenOutput(token_ids=[], log_probs=[], stop_reason="aborted", num_preempted=0)
        finally:
            if attempt.began_s is not None:
                ended = Ended(attempt.replica, version if tokens else None, tokens, attempt.began_s, time.time())
                self.mailbox.post.remote(ended)

    async def _acquire_server(self, request_id: str, **fields: Any) -> tuple[str, ray.actor.ActorHandle]:
        replica, server = await super()._acquire_server(request_id, **fields)
        attempt = _attempt.get()
        attempt.replica, attempt.server, attempt.began_s = replica, server, time.time()
        self.mailbox.post.remote(Began(replica, attempt.began_s))
        return replica, server

    def _vllm_request_id(self, request_id: str) -> str:
        name = super()._vllm_request_id(request_id)
        _attempt.get().server_request_id = name
        return name


class RecordingClient(FullyAsyncLLMServerClient, _AttemptRecorder):
    """verl's asynchronous client; ``extra_fields["segments"]`` says which version made how many tokens.

    ``mailbox`` is the run's (``notices``).
    """

    async def generate(self, request_id: str, **request: Any) -> TokenOutput:
        notes = self._notes(request_id)  # held until the answer holds it
        output = await super().generate(request_id, **request)
        output.extra_fields[SEGMENTS] = notes
        return output
