"""The reference-based general reward."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.mars.general import LONGEST_CHARACTERS, GeneralSource, references_of, token_f1, tokens_of
from pangu_verl.types import RewardRow, RewardSource, Verdict

WORDS = st.lists(st.sampled_from(["red", "blue", "green", "-3", "3"]), min_size=1, max_size=8)


def judge(answer: str, gold: str | None) -> Verdict:
    row = RewardRow(id="1", domain="general", question="", response=answer, answer=answer, ground_truth=gold)
    return asyncio.run(GeneralSource().judge(row))


def test_the_source_fits_the_interface() -> None:
    assert isinstance(GeneralSource(), RewardSource)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("The Eiffel Tower!", "eiffel tower"),
        ("  new\tYork \n", "New York"),
        ("1,000", "1000"),
        ("+7", "7"),
        ("−3.5", "-3.5"),
        ("A", "a"),
        ("<answer>Paris</answer>", "paris"),
        ("Some words first. The answer is Paris.", "Paris"),
        (r"Hence \boxed{Paris}", "Paris"),
        ("ＡＢＣ", "abc"),
        ("北京。", "北京"),
        ("colour", '["color", "colour"]'),
    ],
)
def test_case_articles_punctuation_and_spacing_do_not_count(answer: str, gold: str) -> None:
    verdict = judge(answer, gold)
    assert (verdict.passed, verdict.score) == (True, 1.0)


@pytest.mark.parametrize(
    ("answer", "gold"), [("3", "-3"), ("3.5", "35"), ("Paris or Rome", "Paris"), ("not Paris", "Paris"), ("c++", "d")]
)
def test_what_says_something_else_does_not_pass(answer: str, gold: str) -> None:
    assert judge(answer, gold).passed is False


def test_a_part_of_the_reference_scores_by_f1_and_does_not_pass() -> None:
    verdict = judge("red blue", "red")
    assert verdict.passed is False
    assert verdict.score == pytest.approx(2 / 3)


def test_of_several_references_the_best_counts() -> None:
    assert judge("red blue", '["green", "red"]').score == pytest.approx(2 / 3)


@pytest.mark.parametrize("gold", [None, "", "  ", "?!", "[]"])
def test_a_row_without_a_reference_needs_a_preference_source(gold: str | None) -> None:
    verdict = judge("a poem", gold)
    assert (verdict.score, verdict.passed) == (None, None)
    assert verdict.reason.startswith("needs a preference source")


@pytest.mark.parametrize("answer", ["", " ", "\0", "\ud800", "...", "<answer></answer>Paris"])
def test_an_answer_without_a_word_fails_and_says_so(answer: str) -> None:
    verdict = judge(answer, "Paris")
    assert (verdict.score, verdict.passed, verdict.reason) == (0.0, False, "no answer found")
    assert verdict.details["format_failure"] is True


@pytest.mark.parametrize("gold", ['["a", 3]', "[1, 2", "[" * 100_000, '{"a": 1}'])
def test_a_reference_that_only_looks_like_a_list_is_a_text(gold: str) -> None:
    assert references_of(gold) == [gold]


@pytest.mark.parametrize("piece", ["a", "a ", "1", "1,", "-", "\\boxed{", "<answer>", "é"])
def test_a_megabyte_is_not_judged_and_half_of_it_is(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    assert judge(text, "Paris").passed is None
    assert judge(text[:LONGEST_CHARACTERS], "Paris").passed is False


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_answer_to_any_reference_gets_a_verdict(answer: str, gold: str) -> None:
    verdict = judge(answer, gold)
    assert verdict.reason
    assert verdict.score is None or verdict.score == 1.0 or verdict.passed is False


@settings(deadline=None)
@given(WORDS, st.sampled_from(["{}", "The {}!", "  {}  ", "**{}**", "<answer>{}</answer>"]))
def test_formatting_that_people_ignore_changes_nothing(words: list[str], form: str) -> None:
    text = " ".join(words)
    assert judge(form.format(text), text).passed is True


@settings(deadline=None)
@given(WORDS, WORDS)
def test_f1_is_symmetric_bounded_and_whole_for_the_same_tokens(left: list[str], right: list[str]) -> None:
    assert token_f1(left, right) == token_f1(right, left)
    assert 0.0 <= token_f1(left, right) <= 1.0
    assert (token_f1(left, right) == 1.0) == (sorted(left) == sorted(right))


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=4))
def test_an_array_of_texts_is_read_as_its_texts(texts: list[str]) -> None:
    assert references_of(json.dumps(texts)) == texts


def test_tokens_keep_the_sign_of_a_number_and_drop_a_hyphen() -> None:
    assert tokens_of("-3 well-known 10-5 1-3") == ["-3", "well", "known", "10", "5", "1", "3"]
