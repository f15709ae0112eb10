"""The language model that the judge and the verifier ask: its server, the replies kept of it, how often it was down.

Invariant: one object serves all sources of a process, so that limits, breaker and cache hold for them together.
Only replies that can be read are kept, and what is read from the cache is checked like a fresh reply. The key is sent
to the endpoint that the settings name and to no other.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pangu_verl.errors import WrongUse
from pangu_verl.types import Verdict
from pangu_verl_judge import prompt
from pangu_verl_judge.cache import ReplyCache
from pangu_verl_judge.client import ChatClient, JudgeUnavailable, Server
from pangu_verl_judge.replies import ReplyKind, UnusableReply, read_reply
from pangu_verl_judge.settings import JudgeSettings, api_key, base_url

SHOWN_REASON_CHARACTERS = 500


class JudgeModel:
    """``client`` is None as long as verl has not said where its pool is."""

    def __init__(self, settings: JudgeSettings, client: ChatClient | None, cache: ReplyCache | None) -> None:
        self.settings = settings
        self._client = client
        self._cache = cache
        self._times_down = 0
        self._of_pools: dict[tuple[str, str], JudgeModel] = {}

    async def ask(self, request: prompt.Request, kind: type[ReplyKind]) -> tuple[ReplyKind, bool]:
        """The reply, and whether it comes from the cache. Raises ``JudgeUnavailable`` or ``UnusableReply``."""
        if self._client is None:
            raise JudgeUnavailable(
                "the settings of the judge say pool=true, and verl has not said where its reward-model pool is; set "
                "reward.reward_model.enable=true and what the README of pangu-verl-judge says goes with it"
            )
        key = self._content_key(request, self._client.server)
        if self._cache is not None and (known := await asyncio.to_thread(self._cache.get, key)) is not None:
            try:
                return read_reply(known, kind), True
            except UnusableReply:
                pass  # somebody else wrote it, and the model can be asked
        text = await self._client.complete(prompt.messages(request, self.settings), kind)
        reply = read_reply(text, kind)
        if self._cache is not None:
            await asyncio.to_thread(self._cache.put, key, text)
        return reply, False

    def with_endpoint(self, address: str, model: str) -> JudgeModel:
        """This model where the settings name its server; else the one in verl's pool, the same for all who ask.

        ``address`` is that of the pool's router, as verl gives it: "host:port". ``model`` is what verl loads, for
        settings that name none. Raises ``WrongUse`` for an address that is none.
        """
        if not self.settings.pool:
            return self
        if (address, model) not in self._of_pools:
            try:
                endpoint = base_url(f"http://{address}/v1")
            except ValueError as error:
                raise WrongUse(f"verl's reward-model pool: expected host:port, got {address!r}: {error}") from None
            server = Server(endpoint=endpoint, model=self.settings.model or model, is_pool=True)
            self._of_pools[address, model] = JudgeModel(self.settings, ChatClient(self.settings, server), self._cache)
        return self._of_pools[address, model]

    async def close(self) -> None:
        """Closes what this event loop opened, and the cache."""
        if self._client is not None:
            await self._client.close()
        if self._cache is not None:
            self._cache.close()

    def details(self, request: prompt.Request, reason: str, *, cached: bool) -> dict[str, Any]:
        """What every judged verdict tells besides its score."""
        details: dict[str, Any] = {
            "kind": request.kind,
            "cached": cached,
            "judge_reason": reason[:SHOWN_REASON_CHARACTERS],
        }
        if request.cut_characters:
            details["cut_characters"] = request.cut_characters
        return details | self._cache_failures()

    def unjudged(self, source: str, error: UnusableReply | JudgeUnavailable) -> Verdict:
        """What a question without an answer becomes: no score, a reason, and an alarm where the model is down."""
        details: dict[str, Any] = {"unusable_reply": True}
        if isinstance(error, JudgeUnavailable):
            self._times_down += 1
            details = {"alarm": "judge_down", "judge_down_count": self._times_down}
        details |= self._cache_failures()
        return Verdict(score=None, passed=None, reason=str(error), source=source, details=details)

    def _cache_failures(self) -> dict[str, int]:
        return {"cache_failures": self._cache.failures} if self._cache is not None and self._cache.failures else {}

    def _content_key(self, request: prompt.Request, server: Server) -> str:
        """Of all that may change the reply; the random mark does not, and a pool has another address in each run."""
        told = prompt.instructions(request, self.settings)
        content = [
            None if server.is_pool else server.endpoint,
            server.model,
            self.settings.temperature,
            self.settings.longest_reply_tokens,
            [told.system, told.before, told.after],
            list(request.texts.items()),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def model_of(settings: JudgeSettings, environment: Mapping[str, str]) -> JudgeModel:
    """The model that the settings name. Raises ``WrongUse`` where its key is not in the environment."""
    client = None
    if settings.endpoint is not None and settings.model is not None:
        key = api_key(settings, environment)
        client = ChatClient(settings, Server(endpoint=settings.endpoint, model=settings.model, api_key=key))
    cache = ReplyCache(settings.cache_path, entries=settings.cache_entries) if settings.cache_entries else None
    return JudgeModel(settings, client, cache)
