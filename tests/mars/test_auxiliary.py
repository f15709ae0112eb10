"""The auxiliary terms: what each takes, and that none of them pays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.mars.auxiliary.length import LengthTerm
from pangu_verl.mars.auxiliary.mode import FastLengthTerm
from pangu_verl.mars.auxiliary.repetition import SEARCHED_TOKENS, WINDOW_TOKENS, RepetitionTerm, repeated_share
from pangu_verl.mars.auxiliary.truncation import TruncationTerm
from pangu_verl.plugins import load_plugins
from pangu_verl.types import AuxiliaryTerm, RewardRow, Verdict

VERDICT = Verdict(score=1.0, passed=True, reason="right", source="made")
TERMS = (RepetitionTerm(), LengthTerm(), TruncationTerm(), FastLengthTerm())
DISTINCT = " ".join(f"word{index}" for index in range(100))


def row(response: str = "fine", *, mode: str | None = None, extra: Mapping[str, Any] | None = None) -> RewardRow:
    return RewardRow(
        id="1", domain="made", question="", response=response, answer=response, mode=mode, extra=extra or {}
    )


def tokens(response_tokens: object, max_response_tokens: object = 1_000) -> dict[str, object]:
    return {"response_tokens": response_tokens, "max_response_tokens": max_response_tokens}


def test_the_terms_come_by_the_hook_that_outsiders_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "mars")
    plugins = load_plugins()
    assert list(plugins.auxiliary_terms) == [term.name for term in TERMS]
    assert plugins.owner("register_auxiliary_terms", "repetition") == "mars"


@pytest.mark.parametrize("term", TERMS)
def test_each_fits_the_interface(term: AuxiliaryTerm) -> None:
    assert isinstance(term, AuxiliaryTerm)


# --- repetition ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\0", "\ud800", "one", DISTINCT, "word " * (WINDOW_TOKENS - 1), "x" * 100])
def test_a_text_without_a_repeated_window_loses_nothing(text: str) -> None:
    assert repeated_share(text) == 0.0


def test_the_share_is_that_of_windows_seen_before() -> None:
    """100 tokens twice have 200 - 19 windows, of which 100 differ."""
    assert repeated_share(f"{DISTINCT} {DISTINCT}") == pytest.approx(1 - 100 / 181)


@pytest.mark.parametrize("text", ["ha" * 10_000, "好" * 10_000, "the same " * 5_000, "!" * 100_000, "- \n" * 9_000])
def test_an_endless_repeat_loses_nearly_all(text: str) -> None:
    assert repeated_share(text) > 0.9
    assert -0.5 <= RepetitionTerm().apply(row(text), VERDICT) < -0.45


def test_the_reasoning_counts_as_well() -> None:
    assert RepetitionTerm().apply(row(f"<think>{DISTINCT} {DISTINCT}</think>fine"), VERDICT) < -0.1


def test_what_no_context_holds_is_not_looked_at() -> None:
    distinct = " ".join(map(str, range(SEARCHED_TOKENS)))
    assert repeated_share(distinct + " same" * 100_000) == 0.0


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), unique=True, max_size=80))
def test_distinct_tokens_are_never_a_repeat(numbers: list[int]) -> None:
    assert repeated_share(" ".join(map(str, numbers))) == 0.0


@settings(deadline=None)
@given(st.lists(st.sampled_from(["red", "blue", "好", "!", "\n"]), min_size=1, max_size=60), st.integers(1, 6))
def test_one_more_copy_never_lowers_the_share(block: list[str], copies: int) -> None:
    text = " ".join(block) + " "
    assert repeated_share(text * copies) <= repeated_share(text * (copies + 1)) < 1.0


@settings(deadline=None)
@given(st.text(max_size=300))
def test_the_share_of_any_text_is_a_share(text: str) -> None:
    assert 0.0 <= repeated_share(text) < 1.0


# --- length --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response_tokens", "amount"), [(0, 0.0), (800, 0.0), (900, -0.25), (1_000, -0.5), (5_000, -0.5)]
)
def test_length_takes_in_the_last_fifth_before_the_limit(response_tokens: int, amount: float) -> None:
    assert LengthTerm().apply(row(extra=tokens(response_tokens)), VERDICT) == pytest.approx(amount)


@settings(deadline=None)
@given(st.integers(0, 2_000), st.integers(0, 2_000), st.integers(1, 2_000))
def test_a_longer_response_never_loses_less(one: int, other: int, limit: int) -> None:
    shorter, longer = sorted([one, other])
    amounts = [LengthTerm().apply(row(extra=tokens(count, limit)), VERDICT) for count in (shorter, longer)]
    assert amounts[0] >= amounts[1] >= -0.5


@pytest.mark.parametrize("term", [LengthTerm(), TruncationTerm(), FastLengthTerm()])
@pytest.mark.parametrize("counts", [{}, tokens(None), tokens("many"), tokens(True), tokens(-1), tokens([])])
def test_without_counts_nothing_is_taken(term: AuxiliaryTerm, counts: dict[str, object]) -> None:
    assert term.apply(row(mode="fast", extra=counts), VERDICT) == 0.0


@pytest.mark.parametrize("limit", [None, 0, "1000", -5])
def test_without_a_limit_length_takes_nothing(limit: object) -> None:
    assert LengthTerm().apply(row(extra=tokens(10**6, limit)), VERDICT) == 0.0


# --- truncation ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "extra"),
    [
        ("<think>and then", {}),
        ("[unused16]and then", {}),
        ("<think>a</think>b<think>c", {}),
        ("fine", {"truncated": True}),
        ("fine", tokens(1_000)),
    ],
)
def test_a_response_that_was_cut_off_loses_half(response: str, extra: dict[str, object]) -> None:
    assert TruncationTerm().apply(row(response, extra=extra), VERDICT) == -0.5


@pytest.mark.parametrize(
    ("response", "extra"),
    [
        ("", {}),
        ("<think>a</think>b", {}),
        ("reasoning whose tag was in the prompt</think>b", {}),
        ("fine", tokens(999)),
        ("fine", {"truncated": False, **tokens(1_000)}),
    ],
)
def test_a_response_that_ended_loses_nothing(response: str, extra: dict[str, object]) -> None:
    assert TruncationTerm().apply(row(response, extra=extra), VERDICT) == 0.0


# --- mode ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("response_tokens", "amount"), [(1_024, 0.0), (2_560, -0.125), (4_096, -0.25), (9_000, -0.25)])
def test_a_fast_answer_that_is_long_loses(response_tokens: int, amount: float) -> None:
    extra = tokens(response_tokens)
    assert FastLengthTerm().apply(row(mode="fast", extra=extra), VERDICT) == pytest.approx(amount)


@pytest.mark.parametrize("mode", [None, "slow", "auto"])
def test_other_modes_may_be_long(mode: str | None) -> None:
    assert FastLengthTerm().apply(row(mode=mode, extra=tokens(9_000)), VERDICT) == 0.0
