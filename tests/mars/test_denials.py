"""What the words around a value, and what a reader does not see, do to it: taken back where they touch it, else not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.mars.answers import extract_final_answer
from pangu_verl.mars.choice import find_choice
from pangu_verl.mars.denials import another_after, another_before, denied_after, denied_before
from pangu_verl.mars.literal import tagged, visible


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("The answer is 5, not 6.", "5"),
        ("The answer is 5. No other value fits.", "5"),
        (r"It is not 4 but \boxed{5}", "5"),
        (r"\boxed{5} is not a prime's square.", "5"),
        ("It is none other than 5.", "5"),
        ("That took 90 minutes or 1.5 hours.", "1.5"),
        ("The answer is 90 minutes. Or 1.5 hours.", "90 minutes"),
        ("6 was wrong. The answer is 5.", "5"),
        (r"The answer is $\$5$.", r"\$5"),
        ("**Final Answer**\n\n(0, 1)", "(0, 1)"),
        ("So they meet at (0,1)", "(0,1)"),
        ("<answer>5</answer>", "5"),
        ("<answer>6</answer><answer>5", "5"),
        (r"\boxed{x = \boxed{5}}", "5"),
        (r"\boxed{4}, \boxed{x = \boxed{5}}", "4, 5"),
    ],
)
def test_a_value_that_nothing_denies_is_kept(answer: str, text: str) -> None:
    extraction = extract_final_answer(answer)
    assert extraction is not None
    assert extraction.text == text


@pytest.mark.parametrize(
    "answer",
    ["The answer is 5? No.", r"\boxed{5}. No, that was wrong.", "It cannot be 5.", "It is (5 is wrong)", "less than 5"]
    + ["6 instead of 5", r"\boxed{5} is not the right answer"],
)
def test_a_value_that_its_neighbours_deny_is_denied(answer: str) -> None:
    extraction = extract_final_answer(answer)
    assert extraction is not None
    assert extraction.text == "not 5"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("The answer is 5. Or maybe 6.", "5 or 6"),
        ("It is either 5 or 6.", "5 or 6"),
        ("The answer is $5$ or $6$", "5 or 6"),
    ],
)
def test_another_value_that_is_offered_is_read_beside_it(answer: str, text: str) -> None:
    extraction = extract_final_answer(answer)
    assert extraction is not None
    assert extraction.text == text


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("The answer is B. C is what people think.", "B"),
        ("The answer is B, not C.", "B"),
        ("The answer is B. A, C and D are wrong.", "B"),
        ("The answer is B (A and C are wrong).", "B"),
        ("The answer is B because A, C and D are wrong.", "B"),
        ("The answer is (B). (A) is for England.", "B"),
        ("The answer is B - a city", "B"),
        ("The answer is B) C", "B"),
        ("The answer is A, a fine one", "A"),
        ("London is big, but it is B", "B"),
        ("It is B or A.", None),
        ("The answer is B/C", None),
    ],
)
def test_a_letter_is_chosen_unless_another_stands_beside_it(answer: str, letter: str | None) -> None:
    choice = find_choice(answer, {"A": "a", "B": "C", "C": "c", "D": "d"})
    assert choice is not None
    assert choice.letter == letter


@pytest.mark.parametrize(
    ("text", "seen"),
    [("a<!-- b -->c", "ac"), ("a<!-- b", "a"), ("~~a~~ b", " b"), ("5~6~7", "5~6~7"), ("a\u200bb\ufeff", "ab")],
)
def test_what_a_reader_does_not_see_is_dropped(text: str, seen: str) -> None:
    assert visible(text) == seen


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_taken_without_an_error(text: str) -> None:
    assert len(tagged(visible(text))) <= len(text)
    for finding in (denied_before(text), denied_after(text)):
        assert isinstance(finding, bool)
    for number in (another_before(text), another_after(text)):
        assert number is None or number in text
