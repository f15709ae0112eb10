"""SandboxFusion's API on loopback: the first part of the path says how the server behaves.

"good" really runs the program, like the server without isolation; programs of these tests are ours.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "pangu-verl-sandboxfusion"))

from pangu_verl_sandboxfusion.settings import SandboxFusionSettings

JOIN_S = 30.0
FIELDS = {
    "compile_timeout",
    "run_timeout",
    "memory_limit_MB",
    "code",
    "stdin",
    "language",
    "files",
    "fetch_files",
    "args",
}


def reply(status: str = "Success", message: str = "", status_of_run: str = "Finished", **result: Any) -> Response:
    run_result = {
        "status": status_of_run,
        "execution_time": 0.01,
        "return_code": 0,
        "stdout": "",
        "stderr": "",
    } | result
    body = {"status": status, "message": message, "compile_result": None, "run_result": run_result, "files": {}}
    return Response(json.dumps(body), media_type="application/json")


def run(body: dict[str, Any]) -> Response:
    """Runs a program as the server does: by its path, in a session of its own that is killed as a whole."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program.py")
        program.write_text(body["code"])
        for path, content in body["files"].items():
            Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, path).write_bytes(base64.b64decode(content))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, str(program)], start_new_session=True, cwd=folder, **pipes)
        try:
            stdout, stderr = process.communicate(body["stdin"].encode(), timeout=body["run_timeout"])
        except subprocess.TimeoutExpired:
            return reply("Failed", status_of_run="TimeLimitExceeded", return_code=None)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    kept = {"stdout": stdout[: 1 << 20].decode("utf-8", "replace"), "stderr": stderr.decode("utf-8", "replace")}
    return reply("Failed" if process.returncode else "Success", return_code=process.returncode, **kept)


@dataclass
class SandboxServer:
    """``bodies`` holds what was asked, in order, since it was last emptied."""

    address: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    at_a_time: int = 0
    most_at_a_time: int = 0

    def endpoint(self, behaviour: str) -> str:
        return f"{self.address}/{behaviour}"

    async def play(self, behaviour: str, body: dict[str, Any]) -> Response:
        self.bodies.append(body)
        if not set(body) <= FIELDS:
            return Response("unknown field", 422)
        if behaviour == "good":
            return await asyncio.to_thread(run, body)
        if behaviour == "slow":
            await asyncio.sleep(10)
        if behaviour == "unhurried":
            self.at_a_time += 1
            self.most_at_a_time = max(self.most_at_a_time, self.at_a_time)
            await asyncio.sleep(0.02)
            self.at_a_time -= 1
        if behaviour == "recovers" and len(self.bodies) == 3:
            return reply(stdout="7")
        if behaviour == "stuck_in_test":
            started = json.loads(body["stdin"])["word"] + ' {"outcome": "started"}'
            return reply("Failed", status_of_run="TimeLimitExceeded", return_code=None, stdout=started)
        return FIXED[behaviour]()


FIXED: dict[str, Callable[[], Response]] = {
    "slow": reply,
    "unhurried": lambda: reply(stdout="7"),
    "recovers": lambda: Response("overloaded", 503),
    "time_limit": lambda: reply("Failed", status_of_run="TimeLimitExceeded", return_code=None, stdout=None),
    "sandbox_error": lambda: reply("SandboxError", "exception on running code"),
    "command_error": lambda: reply("Success", status_of_run="Error", return_code=None),
    "fails": lambda: Response("broken", 500),
    "busy": lambda: Response("slow down", 429),
    "refuses": lambda: Response('{"detail": "language"}', 422),
    "html": lambda: Response("<html>hello</html>", media_type="text/html"),
    "empty": lambda: Response(b""),
    "huge": lambda: Response(b"x" * (3 << 20)),
    "cut_json": lambda: Response('{"status": "Success", "message": "", "run_res'),
    "no_run_result": lambda: Response('{"status": "Success", "message": "", "compile_result": null}'),
    "no_return_code": lambda: reply(return_code=None, stdout="7"),
    "no_stdout": lambda: reply(stdout=None),
    "unknown_status": lambda: reply("Great", stdout="7"),
    "half_body": lambda: Response('{"status": "Succ', headers={"Content-Length": "5000"}),
}


@pytest.fixture(scope="session")
def running_server() -> Iterator[SandboxServer]:
    played = SandboxServer()
    app = FastAPI()

    @app.post("/{behaviour}/run_code")
    async def run_code(behaviour: str, request: Request) -> Response:
        return await played.play(behaviour, await request.json())

    listener = socket.create_server(("127.0.0.1", 0))
    played.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield played
    server.should_exit = server.force_exit = True
    thread.join(JOIN_S)
    listener.close()


@pytest.fixture
def server(running_server: SandboxServer) -> SandboxServer:
    running_server.bodies.clear()
    running_server.most_at_a_time = 0
    return running_server


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def make_source(server: SandboxServer) -> Callable[..., Any]:
    """Sources that ask a behaviour of the server; nothing is waited between attempts."""
    pytest.importorskip("tenacity", reason="the client of SandboxFusion needs tenacity: pip install tenacity")
    from pangu_verl_sandboxfusion.api import SandboxFusionClient
    from pangu_verl_sandboxfusion.source import SandboxFusionSource

    async def no_wait(_: float) -> None:
        await asyncio.sleep(0)

    def make(behaviour: str = "good", **changes: Any) -> SandboxFusionSource:
        values = {"endpoint": server.endpoint(behaviour), "run_timeout_s": 120.0}
        settings = SandboxFusionSettings(**(values | changes))
        return SandboxFusionSource(settings, client=SandboxFusionClient(settings, sleep=no_wait))

    return make
