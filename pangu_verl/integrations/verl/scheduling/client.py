"""The client of the rollout servers, which also notes how many tokens each policy version made.

verl's asynchronous client calls its base class once for each attempt and keeps the first and the last version alone.
Invariants: what an agent loop gets and when is verl's; the notes of one request are one list, however many attempts
and turns it has, so a loop that keeps the extra fields of its first turn keeps those of all turns.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from verl.workers.rollout.llm_server import FullyAsyncLLMServerClient, LLMServerClient
from verl.workers.rollout.replica import TokenOutput

from pangu_verl.integrations.verl.scheduling.segments import SEGMENTS


class _Notes(list[tuple[int | None, int]]):
    """A list that can be held weakly."""


class _AttemptRecorder(LLMServerClient):
    """Comes after verl's client in the order of resolution, so that it sees every attempt."""

    def _notes(self, request_id: str) -> _Notes:
        # Not made in __init__: the client travels to the agent-loop workers, and weak references do not.
        by_request = self.__dict__.setdefault("_notes_by_request", WeakValueDictionary())
        return by_request.setdefault(request_id, _Notes())

    async def generate(self, request_id: str, **request: Any) -> TokenOutput:
        output = await super().generate(request_id, **request)
        if output.token_ids:
            self._notes(request_id).append((output.extra_fields.get("global_steps"), len(output.token_ids)))
        return output


class RecordingClient(FullyAsyncLLMServerClient, _AttemptRecorder):
    """verl's asynchronous client; ``extra_fields["segments"]`` says which version made how many tokens."""

    async def generate(self, request_id: str, **request: Any) -> TokenOutput:
        notes = self._notes(request_id)  # held until the answer holds it
        output = await super().generate(request_id, **request)
        output.extra_fields[SEGMENTS] = notes
        return output
