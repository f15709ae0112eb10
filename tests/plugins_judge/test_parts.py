"""Prompt, replies, breaker, pace and cache by themselves."""

from __future__ import annotations

import json
import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pangu_verl_judge.breaker import CircuitBreaker
from pangu_verl_judge.cache import ReplyCache
from pangu_verl_judge.pace import Pace
from pangu_verl_judge.prompt import (
    agreement_request,
    clean,
    cut_middle,
    messages,
    pairwise_request,
    pointwise_request,
)
from pangu_verl_judge.replies import AgreementReply, PairwiseReply, PointwiseReply, UnusableReply, read_reply
from pangu_verl_judge.settings import JudgeSettings

SETTINGS = JudgeSettings(endpoint="http://judge/v1", model="judge")
ANY_TEXT = st.text(st.characters(codec=None), max_size=300)


@settings(deadline=None)
@given(st.text(max_size=2000), st.integers(200, 2000))
def test_a_cut_text_keeps_its_ends_and_its_limit(text: str, longest: int) -> None:
    cut, removed = cut_middle(text, longest)
    assert len(cut) <= longest and (removed > 0) == (len(text) > longest)
    assert cut[:50] == text[:50] and cut[-50:] == text[-50:]


@settings(deadline=None)
@given(st.text("ab", min_size=500, max_size=1000))
def test_the_note_says_how_much_was_cut(text: str) -> None:
    cut, removed = cut_middle(text, 300)
    kept = cut.count("a") + cut.count("b")  # the note holds two of each kind at most
    assert f"{removed} characters were left out" in cut
    assert abs(len(text) - removed - kept) <= 8


@settings(deadline=None)
@given(ANY_TEXT, ANY_TEXT, st.lists(ANY_TEXT, max_size=3))
@example("[x RESPONSE ends]", "</s>", ["{mark}"])
def test_every_block_opens_and_closes_once(question: str, answer: str, expected: list[str]) -> None:
    for request in (
        pointwise_request(question, answer, None, SETTINGS),
        agreement_request(question, answer, expected, SETTINGS),
    ):
        user = messages(request, SETTINGS)[1]["content"]
        system = messages(request, SETTINGS)[0]["content"]
        mark = user.partition(" QUESTION begins]")[0].rpartition("[")[2]
        assert len(mark) == 24 and mark not in system  # the second call drew another
        assert user.count(mark) == 2 * len(request.texts)
        json.dumps([user, system]).encode()


@settings(deadline=None)
@given(ANY_TEXT)
@example("<|<|im_start|>")
@example("<</s>")
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


def test_instructions_are_repeated_after_the_data() -> None:
    user = messages(pairwise_request("q", "a", "b", None, SETTINGS), SETTINGS)[1]["content"]
    after = user.partition("SECOND RESPONSE ends]")[2]
    assert "Compare the texts" in after and '"preferred"' in after
    user = messages(agreement_request("q", "a", ["b"], SETTINGS), SETTINGS)[1]["content"]
    after = user.partition(" RESPONSE ends]")[2]
    assert "Say whether the final answer" in after and '"agrees"' in after


@pytest.mark.parametrize(
    "token", ["<|im_start|>", "<｜User｜>", "</think>", "</s>", "[INST]", "[unused10]", "<start_of_turn>", "<|eot_id|>"]
)
def test_control_tokens_are_broken_up(token: str) -> None:
    user = messages(pointwise_request("q", f"a{token}b", None, SETTINGS), SETTINGS)[1]["content"]
    assert token not in user and f"a{token[0]} {token[1:]}b" in user


@settings(deadline=None)
@given(st.one_of(ANY_TEXT, st.text('{}[]":,scoreasongtu 0123', max_size=60)))
@example('{"reason": "", "score": 1e999}')
@example('{"reason": "", "score": 1}' * 2)
@example("[" * 5000)
def test_any_reply_is_read_or_refused(text: str) -> None:
    for kind in (PointwiseReply, PairwiseReply, AgreementReply):
        try:
            read_reply(text, kind)
        except UnusableReply as error:
            told = str(error)
        else:
            told = ""
        assert len(told) < 1000 and "\n" not in told


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), ANY_TEXT)
def test_what_was_demanded_is_read(score: float, reason: str) -> None:
    text = json.dumps({"reason": reason.encode("utf-8", "replace").decode(), "score": score, "confidence": 1})
    if not any(tag in reason for tag in ("think>", "[unused")):
        assert read_reply(text, PointwiseReply).score == score


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_success_closes_the_breaker() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures_to_open=2, open_s=10, clock=clock)
    breaker.failed()
    breaker.failed()
    assert not breaker.admits()
    clock.now = 10.0
    assert breaker.admits() and not breaker.admits()
    breaker.succeeded()
    assert breaker.admits() and breaker.admits()


def test_a_success_between_failures_keeps_the_breaker_closed() -> None:
    breaker = CircuitBreaker(failures_to_open=2, open_s=10, clock=Clock())
    for _ in range(5):
        breaker.failed()
        breaker.succeeded()
    assert breaker.admits()


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(["admits", "failed"]), st.floats(0, 5)), max_size=80))
def test_an_open_breaker_admits_once_per_period(events: list[str | float]) -> None:
    clock = Clock()
    breaker = CircuitBreaker(failures_to_open=1, open_s=10, clock=clock)
    breaker.failed()
    admitted: list[float] = []
    for event in events:
        if isinstance(event, float):
            clock.now += event
        elif event == "failed":
            breaker.failed()
        elif breaker.admits():
            admitted.append(clock.now)
    starts = [0.0, *admitted]
    assert all(later - earlier >= 10 for earlier, later in pairwise(starts))


@settings(deadline=None)
@given(st.lists(st.floats(0, 30), max_size=40), st.floats(1, 600))
def test_starts_keep_their_distance(pauses: list[float], requests_per_minute: float) -> None:
    clock = Clock()
    pace = Pace(requests_per_minute=requests_per_minute, clock=clock)
    starts: list[float] = []
    for pause in pauses:
        clock.now += pause
        starts.append(clock.now + pace.reserve())
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert all(gap >= 60 / requests_per_minute - 1e-6 for gap in gaps)


def test_the_cache_keeps_the_latest(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "folder" / "cache.sqlite", entries=3)
    for number in range(5):
        cache.put(str(number), f"reply {number}")
    assert [cache.get(str(number)) for number in range(5)] == [None, None, "reply 2", "reply 3", "reply 4"]
    cache.close()


def test_two_caches_share_one_file(tmp_path: Path) -> None:
    one, other = (ReplyCache(tmp_path / "cache.sqlite", entries=3) for _ in range(2))
    one.put("key", "reply")
    assert other.get("key") == "reply"
    one.close()
    other.close()


def test_bytes_in_the_cache_are_no_reply(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "cache.sqlite", entries=3)
    cache.put("key", "reply")
    with sqlite3.connect(tmp_path / "cache.sqlite") as connection:
        connection.execute("UPDATE replies SET reply = ?", (b"\x80\x04K\x01.",))
    assert cache.get("key") is None
    cache.close()


def test_a_cache_that_cannot_be_written_counts_its_failures(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = ReplyCache(tmp_path / "file" / "cache.sqlite", entries=3)
    cache.put("key", "reply")
    assert cache.get("key") is None and cache.failures == 2
