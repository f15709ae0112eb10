"""verl's reward-model pool beside our sources: verl's own worker, verl's own router, a playing engine behind it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from made_rewards import data
from omegaconf import OmegaConf
from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
from verl.experimental.reward_loop.router.naive_router import NaiveRouter

from pangu_verl.integrations.verl.pool_rewards import PATH
from pangu_verl.integrations.verl.reward_manager import PanguRewardManager

pytest.importorskip("tenacity", reason="the judge's client needs tenacity: pip install tenacity")


@pytest.fixture
def bodies() -> list[dict[str, Any]]:
    return []


def serve(app: FastAPI) -> tuple[uvicorn.Server, threading.Thread, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    return server, thread, int(listener.getsockname()[1])


@pytest.fixture
def router_address(bodies: list[dict[str, Any]]) -> Iterator[str]:
    engine = FastAPI()

    @engine.post("/v1/chat/completions")
    async def chat(request: Request) -> dict[str, Any]:
        bodies.append(await request.json())
        content = json.dumps({"reason": "as it reads", "agrees": True})
        return {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}

    engine_server, engine_thread, engine_port = serve(engine)
    router = NaiveRouter(worker_urls=[f"http://127.0.0.1:{engine_port}"])
    router_server, router_thread, router_port = serve(router.app)
    yield f"127.0.0.1:{router_port}"
    for server, thread in ((router_server, router_thread), (engine_server, engine_thread)):
        server.should_exit = True
        thread.join(30)


def test_verls_worker_lets_our_sources_ask_the_pool(
    change: Callable[..., Any],
    tokenizer: Any,
    tiny_model: Path,
    router_address: str,
    bodies: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PANGU_VERL_JUDGE_POOL", "true")
    monkeypatch.setenv("PANGU_VERL_JUDGE_CACHE_ENTRIES", "0")
    config = change(
        reward__reward_model__enable=True,
        reward__reward_model__enable_resource_pool=True,
        reward__reward_model__model_path=str(tiny_model),
        reward__custom_reward_function__path=PATH,
        pangu__rewards__sources=["verifier"],
    )
    config = OmegaConf.create(OmegaConf.to_container(config, resolve=False))
    worker = RewardLoopWorker(config, router_address)
    assert isinstance(worker.reward_manager, PanguRewardManager)

    found = asyncio.run(worker.compute_score(data(tokenizer, "four")))

    assert found["reward_score"] == 1.0
    assert found["reward_extra_info"]["source"] == "verifier"
    assert [body["model"] for body in bodies] == [str(tiny_model)]
