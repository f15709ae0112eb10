"""SandboxFusion's ``POST /run_code``, as the server at commit 469de08 defines it (sandbox/server/sandbox_api.py).

Invariant: ``run`` gives what became of the program, or raises ``SandboxUnavailable``; a reply with a part missing is
never taken for a failed program. It ends after at most ``attempts`` attempts of ``run_timeout_s`` + ``queue_s`` each,
besides waiting for its turn. Unknown fields of a reply are ignored.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from weakref import WeakKeyDictionary

import httpx
from pydantic import BaseModel, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from pangu_verl_sandboxfusion.settings import SandboxFusionSettings

#: What the server keeps of standard output; the rest is lost without a sign.
CAPTURED_BYTES = 1 << 20
SHOWN_CHARACTERS = 200
_BUSY = frozenset({408, 425, 429})


class SandboxUnavailable(Exception):
    """The sandbox did not run the program. The message fits a verdict's reason."""


class _MayPass(SandboxUnavailable):
    """A failure that another attempt may not meet."""


class CommandResult(BaseModel):
    """``CommandRunResult`` of the server: times in seconds, output decoded."""

    status: Literal["Finished", "Error", "TimeLimitExceeded"]
    execution_time: float | None = None
    return_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None


class RunCodeReply(BaseModel):
    """``RunCodeResponse`` of the server."""

    status: Literal["Success", "Failed", "SandboxError"]
    message: str
    run_result: CommandResult | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """How a program ended: by itself with ``return_code``, or at the limit of wall time."""

    timed_out: bool
    return_code: int | None
    stdout: str
    stderr: str


@dataclass(slots=True)
class _Connection:
    """What belongs to one event loop."""

    client: httpx.AsyncClient
    slots: asyncio.Semaphore


@dataclass(slots=True)
class SandboxFusionClient:
    """Any number of runs at a time, from any event loop; ``sleep`` does all the waiting between attempts."""

    settings: SandboxFusionSettings
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _connections: WeakKeyDictionary[asyncio.AbstractEventLoop, _Connection] = field(
        init=False, default_factory=WeakKeyDictionary
    )

    async def run(self, code: str, stdin: str, *, files: Mapping[str, bytes] | None = None) -> Execution:
        """Run Python code, with ``files`` by path beside it. Texts must be encodable as UTF-8.

        Raises ``SandboxUnavailable``.
        """
        body = {
            "code": code,
            "language": "python",
            "stdin": stdin,
            "run_timeout": self.settings.run_timeout_s,
            "memory_limit_MB": self.settings.memory_mib,
            "files": {path: base64.b64encode(content).decode() for path, content in (files or {}).items()},
        }
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.settings.attempts),
            retry=retry_if_exception_type(_MayPass),
            wait=wait_random_exponential(multiplier=self.settings.first_wait_s, max=self.settings.longest_wait_s),
            sleep=self.sleep,
            reraise=True,
        )
        return await retrying(self._attempt, json.dumps(body).encode())

    async def close(self) -> None:
        """Closes what this event loop opened."""
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.client.aclose()

    async def _attempt(self, body: bytes) -> Execution:
        limit_s = self.settings.run_timeout_s + self.settings.queue_s
        connection = self._connection()
        async with connection.slots:
            try:
                async with asyncio.timeout(limit_s):
                    status, reply = await self._exchange(connection.client, body)
            except TimeoutError:
                raise _MayPass(f"the sandbox gave no whole reply within {limit_s:g} s") from None
            except httpx.HTTPError as error:
                raise _MayPass(f"the sandbox cannot be reached: {type(error).__name__}: {error}") from None
        if status >= 500 or status in _BUSY:
            raise _MayPass(f"the sandbox's server failed with status {status}: {_shown(reply)}")
        if not 200 <= status < 300:
            raise SandboxUnavailable(f"the sandbox's server refuses the request with status {status}: {_shown(reply)}")
        return _execution(reply)

    async def _exchange(self, client: httpx.AsyncClient, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        url = f"{self.settings.endpoint}/run_code"
        async with client.stream("POST", url, content=body, headers=headers) as response:
            reply = bytearray()
            async for piece in response.aiter_raw():
                reply += piece
                if len(reply) > self.settings.longest_reply_bytes:
                    raise SandboxUnavailable(
                        f"the sandbox's reply is longer than {self.settings.longest_reply_bytes} bytes"
                    )
            return response.status_code, bytes(reply)

    def _connection(self) -> _Connection:
        loop = asyncio.get_running_loop()
        if loop not in self._connections:
            limits = httpx.Limits(max_connections=self.settings.requests_in_flight)
            timeout_s = self.settings.run_timeout_s + self.settings.queue_s
            client = httpx.AsyncClient(timeout=timeout_s, limits=limits)
            self._connections[loop] = _Connection(client, asyncio.Semaphore(self.settings.requests_in_flight))
        return self._connections[loop]


def _execution(body: bytes) -> Execution:
    try:
        reply = RunCodeReply.model_validate_json(body)
    except ValidationError:
        raise SandboxUnavailable(f"the endpoint answered no reply of SandboxFusion but {_shown(body)}") from None
    result = reply.run_result
    if reply.status == "SandboxError" or (result is not None and result.status == "Error"):
        raise _MayPass(f"the sandbox could not run the program: {_shown(reply.message.encode('utf-8', 'replace'))}")
    timed_out = result is not None and result.status == "TimeLimitExceeded"
    if result is None or (result.return_code is None and not timed_out) or (result.stdout is None and not timed_out):
        raise SandboxUnavailable("the sandbox's reply lacks run_result, its return_code or its stdout")
    return Execution(
        timed_out=timed_out,
        return_code=result.return_code,
        stdout=result.stdout or "",
        stderr=result.stderr or "",
    )


def _shown(body: bytes) -> str:
    """A piece of foreign text, on one line and printable."""
    return ascii(body[:SHOWN_CHARACTERS].decode("utf-8", "replace"))
