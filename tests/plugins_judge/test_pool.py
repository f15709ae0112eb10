"""verl's reward-model pool as the judge's server: its address, its model, its router.

The router is verl's own; behind it stands the playing judge in the place of an inference engine, which no test runs.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pangu_verl_judge.settings import JudgeSettings

from pangu_verl.errors import WrongUse
from pangu_verl.types import RewardRow, Verdict

pytest.importorskip("tenacity", reason="the judge's client needs tenacity: pip install tenacity")

from pangu_verl_judge.model import model_of
from pangu_verl_judge.source import JudgeSource
from pangu_verl_judge.verifier import VerifierSource

START_S = 30.0
MODEL = "/models/judge"


@pytest.fixture
def pool_settings(tmp_path: Path) -> Callable[..., JudgeSettings]:
    def make(**changes: Any) -> JudgeSettings:
        values = {"pool": True, "cache_path": tmp_path / "judge.sqlite", "requests_per_minute": 1e9, "attempts": 1}
        return JudgeSettings(**(values | changes))

    return make


@pytest.fixture
def router(server: Any) -> Iterator[Callable[[str], str]]:
    """Starts verl's router before engines of one behaviour and gives its address, as verl hands it over."""
    naive_router = pytest.importorskip("verl.experimental.reward_loop.router.naive_router")
    ended: list[Callable[[], None]] = []

    def start(behaviour: str) -> str:
        app = naive_router.NaiveRouter(worker_urls=[f"{server.address}/{behaviour}"]).app
        listener = socket.create_server(("127.0.0.1", 0))
        routing = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=routing.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()

        def end() -> None:
            routing.should_exit = True
            thread.join(START_S)
            listener.close()

        ended.append(end)
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for end in ended:
        end()


def row(gold: str | None = None) -> RewardRow:
    return RewardRow(id="1", domain="general", question="2 + 2?", response="4", answer="4", ground_truth=gold)


def judged(source: Any, gold: str | None = None) -> Verdict:
    async def ask() -> Verdict:
        try:
            return await source.judge(row(gold))
        finally:
            await source.close()

    return asyncio.run(ask())


def test_the_pool_is_asked_through_verls_router(
    pool_settings: Callable[..., JudgeSettings], router: Callable[[str], str], server: Any
) -> None:
    source = JudgeSource(model_of(pool_settings(), {})).with_endpoint(router("good"), MODEL)
    assert judged(source).score == pytest.approx(6 / 9)
    assert server.bodies[0]["model"] == MODEL and "response_format" in server.bodies[0]


def test_the_verifier_asks_the_pool_too(
    pool_settings: Callable[..., JudgeSettings], router: Callable[[str], str]
) -> None:
    source = VerifierSource(model_of(pool_settings(), {})).with_endpoint(router("agrees"), MODEL)
    assert judged(source, "4").passed is True


def test_a_model_in_the_settings_is_the_name_that_is_asked_for(
    pool_settings: Callable[..., JudgeSettings], router: Callable[[str], str], server: Any
) -> None:
    judged(JudgeSource(model_of(pool_settings(model="served"), {})).with_endpoint(router("good"), MODEL))
    assert server.bodies[0]["model"] == "served"


def test_no_pool_gets_the_key(
    pool_settings: Callable[..., JudgeSettings], router: Callable[[str], str], server: Any
) -> None:
    model = model_of(pool_settings(api_key_variable="JUDGE_KEY"), {"JUDGE_KEY": "secret-key"})
    judged(JudgeSource(model).with_endpoint(router("good"), MODEL))
    assert "secret-key" not in repr(server.headers)


def test_the_pool_is_asked_past_a_proxy(
    pool_settings: Callable[..., JudgeSettings],
    router: Callable[[str], str],
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("NO_PROXY", "")
    source = JudgeSource(model_of(pool_settings(), {})).with_endpoint(router("good"), MODEL)
    assert judged(source).score is not None


def test_judge_and_verifier_share_what_asks_the_pool(pool_settings: Callable[..., JudgeSettings]) -> None:
    model = model_of(pool_settings(), {})
    judge = JudgeSource(model).with_endpoint("127.0.0.1:1", MODEL)
    verifier = VerifierSource(model).with_endpoint("127.0.0.1:1", MODEL)
    assert judge._model is verifier._model


def test_an_endpoint_in_the_settings_stays(make_source: Callable[..., Any], server: Any) -> None:
    source = make_source("good").with_endpoint("127.0.0.1:1", MODEL)
    assert judged(source).score is not None and len(server.bodies) == 1


def test_without_an_address_nothing_is_judged_and_the_reason_says_what_to_set(
    pool_settings: Callable[..., JudgeSettings],
) -> None:
    verdict = judged(JudgeSource(model_of(pool_settings(), {})))
    assert (verdict.score, verdict.details["alarm"]) == (None, "judge_down")
    assert "reward.reward_model.enable=true" in verdict.reason


@pytest.mark.parametrize("address", ["", "host:port", "me:secret@host:1", "host:1?x=y"])
def test_an_address_that_is_none_is_refused(pool_settings: Callable[..., JudgeSettings], address: str) -> None:
    with pytest.raises(WrongUse, match="expected host:port"):
        JudgeSource(model_of(pool_settings(), {})).with_endpoint(address, MODEL)


def test_an_address_of_ipv6_is_one(pool_settings: Callable[..., JudgeSettings]) -> None:
    assert JudgeSource(model_of(pool_settings(), {})).with_endpoint("[::1]:8000", MODEL)


def test_replies_outlive_the_pools_address(
    pool_settings: Callable[..., JudgeSettings], router: Callable[[str], str], server: Any
) -> None:
    verdicts = [judged(JudgeSource(model_of(pool_settings(), {})).with_endpoint(router("good"), MODEL)) for _ in "ab"]
    assert [verdict.details["cached"] for verdict in verdicts] == [False, True]
    assert len(server.bodies) == 1


@pytest.mark.parametrize("behaviour", ["refuses", "fails"])
def test_what_an_engine_refuses_does_not_close_the_pool_to_others(
    pool_settings: Callable[..., JudgeSettings], router: Callable[[str], str], server: Any, behaviour: str
) -> None:
    """verl's router makes a 500 of every refusal, so a row that is too long looks like an engine that fails."""
    source = JudgeSource(model_of(pool_settings(failures_to_open=1), {})).with_endpoint(router(behaviour), MODEL)
    verdicts = [judged(source) for _ in range(2)]
    assert len(server.bodies) == 2
    assert all(verdict.score is None and "its engine refuses a request" in verdict.reason for verdict in verdicts)


def test_a_router_that_is_gone_opens_the_breaker(pool_settings: Callable[..., JudgeSettings], closed_port: int) -> None:
    source = JudgeSource(model_of(pool_settings(failures_to_open=1), {}))
    source = source.with_endpoint(f"127.0.0.1:{closed_port}", MODEL)
    assert "cannot be reached" in judged(source).reason
    assert "is left alone" in judged(source).reason
