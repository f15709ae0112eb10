"""The multiple-choice reward: where the one choice is found, and what is no choice."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.mars.choice import ChoiceSource, find_choice, gold_letter, options_in
from pangu_verl.types import RewardRow, RewardSource, Verdict

QUESTION = "What is the capital of France?\nA) London\nB) Paris\nC) New York\nD) New York City"
OPTIONS = {"A": "London", "B": "Paris", "C": "New York", "D": "New York City"}


def judge(answer: str, gold: str | None = "B", question: str = QUESTION) -> Verdict:
    row = RewardRow(id="1", domain="choice", question=question, response=answer, answer=answer, ground_truth=gold)
    return asyncio.run(ChoiceSource().judge(row))


def chosen(answer: str, options: dict[str, str] | None = None) -> str | None:
    choice = find_choice(answer, OPTIONS if options is None else options)
    return choice.letter if choice else None


def test_the_source_fits_the_interface() -> None:
    assert isinstance(ChoiceSource(), RewardSource)


# --- where a choice is found -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "found_by"),
    [
        (r"So \boxed{B}.", "boxed"),
        (r"$\boxed{\text{(B)}}$", "boxed"),
        (r"\boxed{\textbf{B}}", "boxed"),
        (r"\boxed{B) Paris}", "boxed"),
        (r"\boxed{\text{Paris}}", "boxed"),
        ("answer: (B)", "declared"),
        ("Answer: B", "declared"),
        ("The correct answer is **B**.", "declared"),
        ("The correct answer is:\n\n**B) Paris**", "declared"),
        ("The answer is option B.", "declared"),
        ("The correct option is (b)", "declared"),
        ("**Final Answer:** B", "declared"),
        ("The answer is B because Paris is in France. A is in England.", "declared"),
        ("The answer is $B$.", "declared"),
        ("I choose B.", "declared"),
        ("答案是B。", "declared"),
        ("所以选B", "declared"),
        ("The answer is Paris.", "declared"),
        ("The answer is Paris, which lies on the Seine.", "declared"),
        ("The answer is A? No.\nThe answer is B.", "declared"),
        ("B", "line"),
        ("(B)", "line"),
        ("b", "line"),
        ("A is wrong.\n<answer>B</answer>", "line"),
        ("Option B is the correct answer.", "closing"),
        ("The correct answer is (B), not (C).", "declared"),
        ("Answer: B\n\nA is wrong, as C and D are.", "declared"),
        ("**B.**", "line"),
        ("B. Paris", "line"),
        ("Paris", "line"),
        ("B\n\nParis has been the capital for long.", "line"),
        ("Paris is the capital, so it has to be (B).", "closing"),
        ("It must be B", "closing"),
        ("I am sure that B is right.\nThank you.", "closing"),
    ],
)
def test_a_choice_is_found_where_it_is_stated(answer: str, found_by: str) -> None:
    verdict = judge(answer)
    assert (verdict.passed, verdict.score, verdict.details["found_by"]) == (True, 1.0, found_by), verdict


@pytest.mark.parametrize("answer", ["A", "The answer is A.", r"\boxed{A}", "The answer is A because of this.", "(A)"])
def test_the_letter_a_is_a_choice_where_it_stands_as_one(answer: str) -> None:
    assert chosen(answer) == "A"


@pytest.mark.parametrize("answer", ["The answer is D) New York City", "New York City", "The answer is New York City."])
def test_of_options_that_begin_alike_the_longest_is_meant(answer: str) -> None:
    assert chosen(answer) == "D"


def test_an_options_number_is_not_the_beginning_of_a_longer_one() -> None:
    assert chosen("The answer is 45.", {"A": "4", "B": "45"}) == "B"
    assert chosen("The answer is 4.5", {"A": "4", "B": "45"}) is None


# --- what is wrong -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        "The answer is A or B.",
        "The answer is B or C.",
        "The answer is (B) and (C)",
        "Answer: B, C",
        r"\boxed{B, C}",
        r"\boxed{B} or \boxed{C}",
        r"\boxed{BC}",
        "B or D",
        "It is either (B) or (C).",
        "A) London\nB) Paris\nC) New York\nD) New York City",
    ],
)
def test_hedging_between_options_is_wrong(answer: str) -> None:
    assert judge(answer).passed is False


@pytest.mark.parametrize(
    "answer", ["The answer is not B.", r"It is not \boxed{B}", "It is not (B)", "It isn't option B"]
)
def test_an_option_that_is_denied_is_not_chosen(answer: str) -> None:
    assert judge(answer).passed is False


@pytest.mark.parametrize("answer", ["The answer is C.", r"B, no: \boxed{C}", "London", "answer: (B)\nanswer: (C)"])
def test_another_option_is_wrong(answer: str) -> None:
    verdict = judge(answer)
    assert (verdict.passed, verdict.score) == (False, 0.0)
    assert verdict.reason.endswith("is not B")


@pytest.mark.parametrize(
    "answer", ["", "   ", "I do not know.", "A city in Europe.", "I think so.", "\0", "\ud800", "Z"]
)
def test_an_answer_without_a_choice_fails_and_says_so(answer: str) -> None:
    verdict = judge(answer, gold="A")
    assert (verdict.passed, verdict.reason) == (False, "no choice found")
    assert verdict.details["format_failure"] is True


@pytest.mark.parametrize("answer", ["The answer is a dog.", "The answer is I do not know.", "A dog barks."])
def test_words_are_no_letters(answer: str) -> None:
    assert chosen(answer, {}) is None


# --- gold and options ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gold", ["B", "b", "(B)", "B.", " B) ", r"\boxed{B}", "Paris", "paris."])
def test_a_gold_may_be_written_in_several_ways(gold: str) -> None:
    assert gold_letter(gold, OPTIONS) == "B"


@pytest.mark.parametrize("gold", [None, "", "Berlin", "E", "AB", "7", "\0"])
def test_a_gold_that_is_no_option_cannot_be_judged(gold: str | None) -> None:
    verdict = judge("B", gold=gold)
    assert (verdict.score, verdict.passed) == (None, None)
    assert verdict.reason.endswith("is no letter and no option of the question")


@pytest.mark.parametrize(
    "question",
    [
        QUESTION,
        "What?\n(A) London\n(B) Paris\n(C) New York\n(D) New York City",
        "What?\n\nA. London\nB. Paris\nC. New York\nD. New York City\n\nAnswer with a letter.",
        "- A: London\n- B: Paris\n- C: New York\n- D: New York City",
    ],
)
def test_the_options_of_a_question_are_read(question: str) -> None:
    assert options_in(question) == OPTIONS


@pytest.mark.parametrize("question", ["", "A) alone", "B) two\nC) three", "Mr. A. Smith asks."])
def test_letters_that_are_no_list_from_a_on_are_no_options(question: str) -> None:
    assert options_in(question) == {}


# --- any input -----------------------------------------------------------------------------------------------------------

PIECES = ["A", "B", "(C)", " ", "answer is ", r"\boxed{", "}", "\n", "**", "not ", " or ", "Paris", ".", "I", "$", ":"]


@settings(deadline=None)
@given(answer=st.one_of(st.text(max_size=80), st.lists(st.sampled_from(PIECES), max_size=14).map("".join)))
def test_any_answer_gets_a_verdict_with_a_reason(answer: str) -> None:
    verdict = judge(answer)
    assert verdict.passed in (True, False) and verdict.reason


@settings(deadline=None)
@given(letter=st.sampled_from("ABCD"), form=st.sampled_from([r"\boxed{{{}}}", "The answer is {}.", "({})", "**{}**"]))
def test_exactly_one_letter_passes_for_one_answer(letter: str, form: str) -> None:
    assert [gold for gold in "ABCD" if judge(form.format(letter), gold=gold).passed] == [letter]


@pytest.mark.parametrize(
    "piece", ["a", "(", "B ", "answer is ", r"\boxed{", "A) x\n", "\n", "*", " ", "not ", "$", ", "]
)
@pytest.mark.parametrize("frame", ["{}", r"\boxed{{B{}x}}", "The answer is B{}x"])
def test_a_megabyte_of_one_thing_is_judged(piece: str, frame: str) -> None:
    text = frame.format(piece * (90_000 // len(piece))).rjust(1_000_000)
    assert judge(text, question=text).reason
