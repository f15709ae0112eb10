"""Requests to an OpenAI-compatible chat endpoint, within limits, tried again where that can help.

Invariant: ``complete`` ends after at most ``attempts`` attempts of ``timeout_s`` each, besides waiting for its turn,
and reads at most ``longest_reply_bytes`` of each reply. It gives text or raises one of two errors: ``JudgeUnavailable``
(the judge is down, refuses us, or is too busy) or ``UnusableReply``. The key goes into one header and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from pydantic import BaseModel, Field, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from pangu_verl_judge.breaker import CircuitBreaker
from pangu_verl_judge.pace import Pace
from pangu_verl_judge.replies import Reply, UnusableReply, response_format, shown
from pangu_verl_judge.settings import JudgeSettings

_BUSY = frozenset({408, 409, 425, 429})
_NOT_UNDERSTOOD = frozenset({400, 422})


class JudgeUnavailable(Exception):
    """No reply could be had. The message fits a verdict's reason."""


class _MayPass(JudgeUnavailable):
    """A failure that another attempt may not meet. ``retry_after_s`` is the server's wish."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class _NotUnderstood(Exception):
    """The server refuses this very request."""


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """Whom to ask. ``is_pool``: the router of verl's reward-model pool, which is asked past any proxy.

    That router answers 500 for whatever one of its engines refuses or fails at (verl 0.9.1,
    experimental/reward_loop/router/naive_router.py), so there a 500 says nothing against the pool as a whole.
    """

    endpoint: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    is_pool: bool = False


@dataclass(slots=True)
class _Connection:
    """What belongs to one event loop."""

    client: httpx.AsyncClient
    slots: asyncio.Semaphore


@dataclass(slots=True)
class ChatClient:
    """Any number of requests at a time, from any event loop; ``sleep`` does all the waiting."""

    settings: JudgeSettings
    server: Server
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    takes_schema: bool = True
    """Whether the server is still thought to understand ``response_format``; it loses this with its first refusal."""
    _connections: WeakKeyDictionary[asyncio.AbstractEventLoop, _Connection] = field(
        init=False, default_factory=WeakKeyDictionary
    )
    _breaker: CircuitBreaker = field(init=False)
    _pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self._breaker = CircuitBreaker(failures_to_open=self.settings.failures_to_open, open_s=self.settings.open_s)
        self._pace = Pace(requests_per_minute=self.settings.requests_per_minute)

    async def complete(self, messages: list[dict[str, str]], kind: type[Reply]) -> str:
        """The text of the model's reply. Raises ``JudgeUnavailable`` or ``UnusableReply``."""
        with_schema = self.takes_schema
        try:
            return await self._with_retries(self._body(messages, kind if with_schema else None))
        except _NotUnderstood as error:
            refusal = error
        if with_schema:
            try:
                text = await self._with_retries(self._body(messages, None))
            except _NotUnderstood as error:
                refusal = error
            else:
                self.takes_schema = False
                return text
        raise UnusableReply(f"the judge's server refuses the request: {refusal}")

    async def close(self) -> None:
        """Closes what this event loop opened."""
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.client.aclose()

    async def _with_retries(self, body: bytes) -> str:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.settings.attempts),
            retry=retry_if_exception_type(_MayPass),
            wait=self._wait_s,
            sleep=self.sleep,
            reraise=True,
        )
        return _text(await retrying(self._attempt, body))

    def _wait_s(self, state: RetryCallState) -> float:
        """Random and doubling (full jitter); where the server says how long, that long and a little more."""
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, _MayPass) and error.retry_after_s is not None:
            wish_s = min(error.retry_after_s, self.settings.longest_wait_s)
            return wish_s + random.uniform(0, self.settings.first_wait_s)
        doubling = wait_random_exponential(multiplier=self.settings.first_wait_s, max=self.settings.longest_wait_s)
        return doubling(state)

    async def _attempt(self, body: bytes) -> bytes:
        connection = self._connection()
        async with connection.slots:
            if not self._breaker.admits():
                raise JudgeUnavailable(
                    f"the judge failed {self.settings.failures_to_open} times in a row and is left alone for"
                    f" {self.settings.open_s:g} s"
                )
            await self.sleep(self._pace.reserve())
            try:
                async with asyncio.timeout(self.settings.timeout_s):
                    status, headers, reply = await self._exchange(connection.client, body)
            except TimeoutError:
                self._breaker.failed()
                raise _MayPass(f"the judge gave no whole reply within {self.settings.timeout_s:g} s") from None
            except httpx.HTTPError as error:
                self._breaker.failed()
                raise _MayPass(f"the judge cannot be reached: {type(error).__name__}: {error}") from None
        return self._checked(status, headers, reply)

    async def _exchange(self, client: httpx.AsyncClient, body: bytes) -> tuple[int, httpx.Headers, bytes | None]:
        """Status, headers and body, the last None where it is too long."""
        url = f"{self.server.endpoint}/chat/completions"
        async with client.stream("POST", url, content=body, headers=self._headers()) as response:
            reply = bytearray()
            # Raw, because a small compressed body can unfold into any size.
            async for piece in response.aiter_raw():
                reply += piece
                if len(reply) > self.settings.longest_reply_bytes:
                    return response.status_code, response.headers, None
            return response.status_code, response.headers, bytes(reply)

    def _checked(self, status: int, headers: Mapping[str, str], reply: bytes | None) -> bytes:
        if status == 500 and self.server.is_pool:
            raise _MayPass(
                "verl's reward-model pool failed with status 500, as it also does where its engine refuses a request; "
                "see the engine's log"
            )
        if status >= 500:
            self._breaker.failed()
            raise _MayPass(f"the judge's server failed with status {status}", _seconds(headers.get("retry-after")))
        if status in _BUSY:
            raise _MayPass(f"the judge is too busy (status {status})", _seconds(headers.get("retry-after")))
        if status in _NOT_UNDERSTOOD:
            self._breaker.succeeded()
            raise _NotUnderstood(f"status {status}: {shown((reply or b'').decode('utf-8', 'replace'))}")
        if not 200 <= status < 300:
            self._breaker.failed()
            raise JudgeUnavailable(f"the judge's server refuses us with status {status}; check endpoint, model and key")
        self._breaker.succeeded()
        if reply is None:
            raise UnusableReply(f"the judge's reply is longer than {self.settings.longest_reply_bytes} bytes")
        return reply

    def _body(self, messages: list[dict[str, str]], kind: type[Reply] | None) -> bytes:
        body: dict[str, Any] = {
            "model": self.server.model,
            "messages": messages,
            "temperature": self.settings.temperature,
            "max_tokens": self.settings.longest_reply_tokens,
        }
        if kind is not None:
            body["response_format"] = response_format(kind)
        return json.dumps(body).encode()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        key = self.server.api_key
        return headers if key is None else headers | {"Authorization": f"Bearer {key}"}

    def _connection(self) -> _Connection:
        loop = asyncio.get_running_loop()
        if loop not in self._connections:
            limits = httpx.Limits(max_connections=self.settings.requests_in_flight)
            client = httpx.AsyncClient(
                timeout=self.settings.timeout_s, limits=limits, trust_env=not self.server.is_pool
            )
            self._connections[loop] = _Connection(client, asyncio.Semaphore(self.settings.requests_in_flight))
        return self._connections[loop]


def _text(reply: bytes) -> str:
    try:
        choice = _Completion.model_validate_json(reply).choices[0]
    except ValidationError:
        raise UnusableReply(
            f"the endpoint answered no chat completion but {shown(reply.decode('utf-8', 'replace'))}"
        ) from None
    if choice.finish_reason == "length":
        raise UnusableReply("the judge's reply was cut off at longest_reply_tokens")
    return choice.message.content or ""


def _seconds(retry_after: str | None) -> float | None:
    """A ``Retry-After`` header in seconds from now: a number or a date (RFC 9110 10.2.3); None for anything else."""
    if retry_after is None:
        return None
    if retry_after.strip().isascii() and retry_after.strip().isdigit():
        return float(retry_after.strip()[:9])
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp())
