"""A judge's server on loopback, whose first part of the path says how it behaves, and sources that ask it.

Importing the plugin's client needs tenacity, which the project's environment may lack: see ``make_model``.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "pangu-verl-judge"))

from pangu_verl_judge.settings import JudgeSettings

START_S = 30.0


def completion(content: str | None, finish_reason: str = "stop") -> Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    return Response(json.dumps({"choices": [choice]}), media_type="application/json")


def grade(score: float) -> Response:
    return completion(json.dumps({"reason": "as it deserves", "score": score}))


def agreement(agrees: object) -> Response:
    return completion(json.dumps({"reason": "as they read", "agrees": agrees}))


@dataclass
class JudgeServer:
    """``bodies`` and ``headers`` hold what was asked, in order, since ``forget``."""

    address: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_a_time: int = 0
    most_at_a_time: int = 0

    def endpoint(self, behaviour: str) -> str:
        return f"{self.address}/{behaviour}/v1"

    def forget(self) -> None:
        self.bodies.clear()
        self.headers.clear()
        self.most_at_a_time = 0

    def texts(self, index: int = -1) -> str:
        return "\n".join(message["content"] for message in self.bodies[index]["messages"])

    def blocks(self, index: int = -1) -> list[tuple[str, str]]:
        """The texts of a request by name, as somebody reads them who goes by the mark."""
        return re.findall(self._block(), self.texts(index), re.DOTALL)

    def outside(self) -> str:
        """What stands outside the blocks of data of the last request, in lower case."""
        return re.sub(self._block(), "", self.texts(), flags=re.DOTALL).lower()

    def _block(self) -> str:
        mark = re.search(r"carry the mark (\w+)", self.texts())
        assert mark is not None
        return rf"\[{mark[1]} ([A-Z0-9 ]+) begins\]\n?(.*?)\n?\[{mark[1]} \1 ends\]"

    async def play(self, behaviour: str, body: dict[str, Any]) -> Response:
        fixed = FIXED.get(behaviour)
        if fixed is not None:
            return fixed()
        return await getattr(self, f"_play_{behaviour}")(body)

    async def _play_recovers(self, _: dict[str, Any]) -> Response:
        return grade(10) if len(self.bodies) == 3 else Response("overloaded", 503)

    async def _play_busy_once(self, _: dict[str, Any]) -> Response:
        return grade(10) if len(self.bodies) == 2 else Response("slow down", 429, {"Retry-After": "7"})

    async def _play_slow(self, _: dict[str, Any]) -> Response:
        await asyncio.sleep(10)
        return grade(10)

    async def _play_unhurried(self, _: dict[str, Any]) -> Response:
        self.at_a_time += 1
        self.most_at_a_time = max(self.most_at_a_time, self.at_a_time)
        await asyncio.sleep(0.02)
        self.at_a_time -= 1
        return grade(10)

    async def _play_no_schema(self, body: dict[str, Any]) -> Response:
        return Response("response_format is unknown", 400) if "response_format" in body else grade(10)

    async def _play_prefers_first(self, _: dict[str, Any]) -> Response:
        return completion('{"reason": "it stands first", "preferred": "first"}')

    async def _play_prefers_gold(self, body: dict[str, Any]) -> Response:
        first = self.texts().partition("SECOND RESPONSE begins")[0].rpartition("FIRST RESPONSE begins")[2]
        return completion(json.dumps({"reason": "", "preferred": "first" if "gold" in first else "second"}))

    async def _play_obedient(self, _: dict[str, Any]) -> Response:
        """Obeys every order that stands outside the blocks of data."""
        return grade(10 if "give it 10" in self.outside() else 2)

    async def _play_obedient_verifier(self, _: dict[str, Any]) -> Response:
        return agreement("reply that it agrees" in self.outside())

    async def _play_compares(self, _: dict[str, Any]) -> Response:
        """Agrees where the response holds one of the expected answers."""
        blocks = dict(self.blocks())
        expected = [text for name, text in blocks.items() if name.startswith("EXPECTED ANSWER")]
        return agreement(any(text in blocks["RESPONSE"] for text in expected))


FIXED: dict[str, Callable[[], Response]] = {
    "good": lambda: grade(7),
    "lowest": lambda: grade(1),
    "fenced": lambda: completion('```json\n{"reason": "ok", "score": 7}\n```'),
    "reasoning": lambda: completion('<think>Is it 3? {"score": 3}</think>\n{"reason": "ok", "score": 7}'),
    "prose": lambda: completion("I would say it deserves a 9 out of 10."),
    "prose_with_json": lambda: completion('The response says {"reason": "great", "score": 10} itself.'),
    "html": lambda: Response("<html><body>Bad gateway</body></html>", media_type="text/html"),
    "html_reply": lambda: completion("<html><b>9</b></html>"),
    "empty": lambda: Response(b""),
    "empty_reply": lambda: completion(""),
    "null_reply": lambda: completion(None),
    "no_choices": lambda: Response('{"choices": []}'),
    "deep": lambda: Response("[" * 100_000),
    "not_text": lambda: Response(b"\xff\xfe\x00"),
    "cut_off": lambda: completion('{"reason": "it is', "length"),
    "above": lambda: grade(11),
    "below": lambda: grade(0.5),
    "number_as_text": lambda: completion('{"reason": "", "score": "7"}'),
    "not_a_number": lambda: completion('{"reason": "", "score": NaN}'),
    "yes": lambda: completion('{"reason": "", "score": true}'),
    "no_score": lambda: completion('{"reason": "fine"}'),
    "list": lambda: completion("[7]"),
    "agrees": lambda: agreement(True),
    "disagrees": lambda: agreement(False),
    "agrees_as_text": lambda: agreement("true"),
    "agrees_as_number": lambda: agreement(1),
    "agrees_and_talks": lambda: completion('{"reason": "", "agrees": true} as I was told'),
    "fails": lambda: Response("broken", 500),
    "busy": lambda: Response("slow down", 429, {"Retry-After": "soon"}),
    "forbidden": lambda: Response("who are you", 401),
    "moved": lambda: Response("", 302, {"Location": "http://127.0.0.1:9/"}),
    "refuses": lambda: Response("context length exceeded", 400),
    "huge": lambda: Response(b"x" * (4 << 20)),
    "zipped": lambda: Response(b"\x1f\x8b\x08\x00", headers={"Content-Encoding": "gzip"}),
}


def application(server: JudgeServer) -> FastAPI:
    app = FastAPI()

    @app.post("/{behaviour}/v1/chat/completions")
    async def chat(behaviour: str, request: Request) -> Response:
        server.bodies.append(await request.json())
        server.headers.append(dict(request.headers))
        return await server.play(behaviour, server.bodies[-1])

    return app


@pytest.fixture(scope="session")
def running_server() -> Iterator[JudgeServer]:
    played = JudgeServer()
    listener = socket.create_server(("127.0.0.1", 0))
    played.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(application(played), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield played
    server.should_exit = server.force_exit = True
    thread.join(START_S)
    listener.close()


@pytest.fixture
def server(running_server: JudgeServer) -> JudgeServer:
    running_server.forget()
    return running_server


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def make_settings(server: JudgeServer, tmp_path: Path) -> Callable[..., JudgeSettings]:
    """Settings for a behaviour of the server, with a cache of the test's own."""

    def make(behaviour: str = "good", **changes: Any) -> JudgeSettings:
        values = {"endpoint": server.endpoint(behaviour), "model": "judge", "cache_path": tmp_path / "judge.sqlite"}
        return JudgeSettings(**(values | {"requests_per_minute": 1e9} | changes))

    return make


@pytest.fixture
def waits_s() -> list[float]:
    """The waits that a source asked for; none of them is really waited."""
    return []


@pytest.fixture
def make_model(make_settings: Callable[..., JudgeSettings], waits_s: list[float]) -> Callable[..., Any]:
    pytest.importorskip("tenacity", reason="the judge's client needs tenacity: pip install tenacity")
    from pangu_verl_judge.cache import ReplyCache
    from pangu_verl_judge.client import ChatClient, Server
    from pangu_verl_judge.model import JudgeModel

    async def note(seconds: float) -> None:
        if seconds > 0:
            waits_s.append(seconds)
        await asyncio.sleep(0)

    sleep: Callable[[float], Awaitable[None]] = note

    def make(behaviour: str = "good", *, key: str | None = None, **changes: Any) -> JudgeModel:
        settings = make_settings(behaviour, **changes)
        assert settings.endpoint is not None and settings.model is not None
        server = Server(endpoint=settings.endpoint, model=settings.model, api_key=key)
        entries = settings.cache_entries
        cache = ReplyCache(settings.cache_path, entries=entries) if entries else None
        return JudgeModel(settings, ChatClient(settings, server, sleep=sleep), cache)

    return make


@pytest.fixture
def make_source(make_model: Callable[..., Any]) -> Callable[..., Any]:
    from pangu_verl_judge.source import JudgeSource

    return lambda *arguments, **changes: JudgeSource(make_model(*arguments, **changes))


@pytest.fixture
def make_verifier(make_model: Callable[..., Any]) -> Callable[..., Any]:
    from pangu_verl_judge.verifier import VerifierSource

    return lambda *arguments, **changes: VerifierSource(make_model(*arguments, **changes))
