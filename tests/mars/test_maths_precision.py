"""Rounded numbers: what the question asks for, and what is right without a request."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.mars.maths.numeric import Number, read_number
from pangu_verl.mars.maths.precision import Request, numbers_match, request_of
from pangu_verl.mars.maths.words import number_in_words


def match(gold: str, answer: str, question: str = "") -> bool:
    numbers = read_number(gold, bare_units=False), read_number(answer, bare_units=True)
    assert numbers[0] is not None
    assert numbers[1] is not None
    return numbers_match(numbers[0], numbers[1], request_of(question))


@pytest.mark.parametrize(
    ("question", "request_"),
    [
        ("Round to two decimal places.", Request(places=2)),
        ("correct to 3 d.p. please", Request(places=3)),
        ("to the nearest integer", Request(places=0)),
        ("to the nearest hundredth", Request(places=2)),
        ("to the nearest 0.01", Request(places=2)),
        ("What is it, to the nearest cent?", Request(places=2, money=True)),
        ("Give 3 significant figures.", Request(digits=3)),
        ("It costs $5 per day.", Request(money=True)),
        ("How many meters?", Request()),
        ("", Request()),
    ],
)
def test_a_question_says_how_precise_its_answer_is(question: str, request_: Request) -> None:
    assert request_of(question) == request_


@pytest.mark.parametrize(
    ("gold", "answer"),
    [("1/3", "0.33"), ("0.3333", "0.33"), ("0.33", "1/3"), ("0.67", "0.666667"), ("2/3", "0.67")],
)
def test_the_places_that_the_question_asks_for_are_enough(gold: str, answer: str) -> None:
    assert match(gold, answer, "Round to two decimal places.")


@pytest.mark.parametrize(("gold", "answer"), [("1/3", "0.34"), ("1/3", "0.3"), ("0.33", "0.34"), ("0.33", "0.3")])
def test_a_wrong_or_coarser_rounding_is_wrong(gold: str, answer: str) -> None:
    assert not match(gold, answer, "Round to two decimal places.")


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("600/7", "85.71"),
        ("30.52", "1587/52"),
        ("6.67%", "1/15"),
        ("117.95%", "118%"),
        ("165.47", "165.5"),
        ("299.94", "300"),
    ],
)
def test_without_a_request_a_correct_rounding_to_enough_digits_is_right(gold: str, answer: str) -> None:
    assert match(gold, answer)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("1/3", "0.33"),
        ("1/8", "0.13"),
        ("12.5", "13"),
        ("12.25", "12.3"),
        ("101.25", "101"),
        ("0.5", "51/100"),
        ("784", "785.12"),
        ("86", "85.71"),
        ("12.25", "12.26"),
        ("600/7", "85.72"),
    ],
)
def test_without_a_request_a_loss_of_digits_is_wrong(gold: str, answer: str) -> None:
    assert not match(gold, answer)


def test_money_is_not_rounded_unasked() -> None:
    assert not match("199.98", "200", "What does it cost in dollars?")


@given(st.integers(-(10**9), 10**9), st.integers(1, 9), st.integers(0, 6))
def test_another_last_digit_is_never_a_rounding(units: int, change: int, places: int) -> None:
    gold, answer = (Number(Fraction(value, 10**places), places or None) for value in (units, units + change))
    assert not numbers_match(gold, answer, Request())


@pytest.mark.parametrize(
    ("words", "number"),
    [("three", 3), ("twenty-one", 21), ("three hundred and five", 305), ("two thousand six", 2006), ("third", 3)],
)
def test_words_state_numbers(words: str, number: int) -> None:
    assert number_in_words(words) == Number(Fraction(number))


@pytest.mark.parametrize("words", ["", "apples", "hundred apples", "none", "one or two", "a"])
def test_other_words_state_none(words: str) -> None:
    assert number_in_words(words) is None
