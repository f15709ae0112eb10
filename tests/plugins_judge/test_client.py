"""Requests to the judge: retries, waits, limits, the breaker, and what travels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.types import RewardRow, Verdict

pytest.importorskip("tenacity", reason="the judge's client needs tenacity: pip install tenacity")

from pangu_verl_judge.client import _seconds


def judge(source: Any, number: int = 1) -> list[Verdict]:
    async def ask() -> list[Verdict]:
        rows = [
            RewardRow(id=str(index), domain="general", question="", response="", answer=f"answer {index}")
            for index in range(number)
        ]
        try:
            return [await source.judge(row) for row in rows]
        finally:
            await source.close()

    return asyncio.run(ask())


def test_a_failure_that_passes_is_tried_again(make_source: Callable[..., Any], server: Any) -> None:
    assert judge(make_source("recovers"))[0].score == 1.0
    assert len(server.bodies) == 3


def test_attempts_are_counted(make_source: Callable[..., Any], server: Any) -> None:
    judge(make_source("fails", attempts=3))
    assert len(server.bodies) == 3


@pytest.mark.parametrize("behaviour", ["forbidden", "moved"])
def test_what_does_not_pass_is_not_tried_again(make_source: Callable[..., Any], server: Any, behaviour: str) -> None:
    verdict = judge(make_source(behaviour))[0]
    assert len(server.bodies) == 1
    assert verdict.details["alarm"] == "judge_down" and "check endpoint, model and key" in verdict.reason


def test_waits_are_random_and_bounded(make_source: Callable[..., Any], waits_s: list[float]) -> None:
    judge(make_source("fails", attempts=6, first_wait_s=1.0, longest_wait_s=3.0))
    assert len(waits_s) == len(set(waits_s)) == 5 and max(waits_s) <= 3.0


def test_the_server_says_how_long_to_wait(make_source: Callable[..., Any], waits_s: list[float]) -> None:
    assert judge(make_source("busy_once", first_wait_s=0.5))[0].score == 1.0
    assert 7.0 <= waits_s[0] <= 7.5


def test_the_server_cannot_make_us_wait_for_ever(make_source: Callable[..., Any], waits_s: list[float]) -> None:
    judge(make_source("busy_once", first_wait_s=0.5, longest_wait_s=2.0))
    assert waits_s[0] <= 2.5


@pytest.mark.parametrize(
    ("behaviour", "timeout_s", "reason"),
    [("fails", 60, "status 500"), ("busy", 60, "too busy (status 429)"), ("slow", 0.2, "no whole reply within 0.2 s")],
)
def test_a_judge_that_is_down_is_none_with_an_alarm(
    make_source: Callable[..., Any], behaviour: str, timeout_s: float, reason: str
) -> None:
    verdicts = judge(make_source(behaviour, attempts=1, timeout_s=timeout_s), 2)
    assert [verdict.score for verdict in verdicts] == [None, None]
    assert [verdict.details["judge_down_count"] for verdict in verdicts] == [1, 2]
    assert reason in verdicts[0].reason


def test_a_refused_connection_is_none_with_an_alarm(make_source: Callable[..., Any], closed_port: int) -> None:
    verdict = judge(make_source(endpoint=f"http://127.0.0.1:{closed_port}/v1"))[0]
    assert verdict.details["alarm"] == "judge_down" and "cannot be reached" in verdict.reason


def test_the_breaker_spares_a_judge_that_is_down(make_source: Callable[..., Any], server: Any) -> None:
    verdicts = judge(make_source("fails", attempts=2, failures_to_open=4, open_s=1000), 10)
    assert len(server.bodies) == 4
    assert "is left alone" in verdicts[-1].reason and verdicts[-1].details["judge_down_count"] == 10


def test_a_busy_judge_does_not_open_the_breaker(make_source: Callable[..., Any], server: Any) -> None:
    judge(make_source("busy", attempts=1, failures_to_open=1), 3)
    assert len(server.bodies) == 3


def test_output_is_demanded_as_json(make_source: Callable[..., Any], server: Any) -> None:
    judge(make_source())
    asked = server.bodies[0]["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["schema"]["required"] == ["reason", "score"]
    assert asked["json_schema"]["schema"]["additionalProperties"] is False


def test_a_server_without_json_schema_is_asked_in_words(make_source: Callable[..., Any], server: Any) -> None:
    verdicts = judge(make_source("no_schema"), 2)
    assert [verdict.score for verdict in verdicts] == [1.0, 1.0]
    assert ["response_format" in body for body in server.bodies] == [True, False, False]


def test_the_key_goes_into_the_header(make_source: Callable[..., Any], server: Any) -> None:
    judge(make_source(key="secret-key"))
    assert server.headers[0]["authorization"] == "Bearer secret-key"


@pytest.mark.parametrize("behaviour", ["fails", "forbidden", "prose", "refuses"])
def test_the_key_shows_in_no_verdict(make_source: Callable[..., Any], behaviour: str) -> None:
    source = make_source(behaviour, key="secret-key", attempts=1)
    assert "secret-key" not in repr(judge(source)) + repr(source._model._client)


def test_requests_in_flight_are_limited(make_source: Callable[..., Any], server: Any) -> None:
    async def ask() -> None:
        source = make_source("unhurried", requests_in_flight=2)
        rows = [RewardRow(id="", domain="general", question="", response="", answer=str(i)) for i in range(6)]
        await asyncio.gather(*(source.judge(row) for row in rows))
        await source.close()

    asyncio.run(ask())
    assert len(server.bodies) == 6 and server.most_at_a_time <= 2


def test_starts_are_spread_over_the_minute(make_source: Callable[..., Any], waits_s: list[float]) -> None:
    judge(make_source(requests_per_minute=0.006), 3)
    assert waits_s == pytest.approx([10_000, 20_000], rel=0.01)


def test_one_source_serves_several_event_loops(make_source: Callable[..., Any]) -> None:
    source = make_source(cache_entries=0)
    assert judge(source)[0].score == judge(source)[0].score is not None


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, None), ("0", 0.0), (" 3 ", 3.0), ("soon", None), ("-1", None), ("9" * 5000, 999999999.0)],
)
def test_retry_after_is_read_as_seconds(header: str | None, expected: float | None) -> None:
    assert _seconds(header) == expected


def test_retry_after_is_read_as_a_date() -> None:
    later = _seconds(format_datetime(datetime.now(UTC) + timedelta(hours=1)))
    assert later is not None and 3500 < later < 3601
    assert _seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_retry_after_is_a_wait_or_none(header: str) -> None:
    seconds = _seconds(header)
    assert seconds is None or seconds >= 0
