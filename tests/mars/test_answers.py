"""Splitting off the reasoning, and finding the one final answer."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.mars.answers import Extraction, extract_final_answer, split_reasoning

LATEX_PIECES = st.sampled_from(
    r"\boxed{ \fbox{ { } \ $ $$ \( \) \[ \] \frac answer is Answer: #### not 5 1,234 - − / % . = ٣ ５ <think> </think>".split()
    + [" ", "\n", "\ud800"]
)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("<think>7?</think>It is 5.", "It is 5."),
        ("[unused16]7?[unused17]It is 5.[unused10]", "It is 5."),
        ("the template opened the reasoning</think> 5", "5"),
        ("<think>a</think> no, <think>b</think> 5", "5"),
        ("no reasoning at all: 5", "no reasoning at all: 5"),
    ],
)
def test_answer_is_what_follows_the_last_close_tag(response: str, answer: str) -> None:
    assert split_reasoning(response) == answer


@pytest.mark.parametrize(
    "response", [r"<think>so \boxed{5}", r"[unused16]\boxed{5}", r"<think>a</think><think>\boxed{5}"]
)
def test_reasoning_that_was_cut_off_leaves_no_answer(response: str) -> None:
    assert split_reasoning(response) == ""


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (r"\boxed{4} no, wait, \boxed{5}", "5"),
        (r"so \boxed{\frac{1}{\sqrt{2}}}$.", r"\frac{1}{\sqrt{2}}"),
        (r"\fbox{5}", "5"),
        (r"\boxed{x = \boxed{5}}", "5"),
        (r"{{ \boxed{5}", "5"),
        (r"\boxed{5} and then \boxed{6", "5"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{}, so \boxed{5}. \boxed{ }", "5"),
        (r"The answer is 6. \boxed{5}", "5"),
    ],
)
def test_last_balanced_box_wins(answer: str, text: str) -> None:
    assert extract_final_answer(answer) == Extraction(text, "boxed")


@pytest.mark.parametrize("gap", [", ", " and ", r"$ or $", r"} \quad \text{and} \quad "[1:], r"\), \("])
def test_boxes_joined_by_a_conjunction_are_one_list(gap: str) -> None:
    assert extract_final_answer(rf"\boxed{{4}}{gap}\boxed{{5}}") == Extraction("4, 5", "boxed")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (r"\boxed{1}\boxed{2}", "1, 2"),
        (r"\boxed{1} papers and \boxed{2} bins", "1, 2"),
        (r"$x = \boxed{4}$ and $y = \boxed{5}$", "4, 5"),
        (r"\boxed{4}, no, wait, \boxed{5}", "5"),
        (r"\boxed{4} and so \boxed{5}", "5"),
        ("\\boxed{4}\n\n\\boxed{5}", "5"),
    ],
)
def test_boxes_of_one_clause_are_a_list_and_a_correction_is_not(answer: str, text: str) -> None:
    assert extract_final_answer(answer) == Extraction(text, "boxed")


def test_a_final_answer_that_is_declared_after_the_last_box_replaces_it() -> None:
    answer = r"The interest is \boxed{255}. Final Answer: The final answer is $10,455$. I hope it is right."
    assert extract_final_answer(answer) == Extraction("10,455", "declared")


@pytest.mark.parametrize(
    "text", ["Anna: 14, Ben: 7", "Maximum = 2, Minimum = 1", "Sequence 1: -1, 0 and Sequence 2: 3, 4"]
)
def test_named_values_are_taken_together(text: str) -> None:
    assert extract_final_answer(text) == Extraction(text, "whole")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("We add 2 and 3.\nThe answer is 5.", "5"),
        ("The final answer is $\\frac{3}{4}$ of the 8 slices.", r"\frac{3}{4}"),
        ("**Final Answer:** 1,234", "1,234"),
        ("Answer: 3.5 hours because she walked 7 miles", "3.5 hours"),
        ("2 + 3\n#### 5", "5"),
        ("Final answer:\n\n\\[ x = 5 \\]\n", "x = 5"),
        ("The answer is 4. No, the answer is 5.", "5"),
        ("The answer is $18. She makes $18 a day.", "$18"),
        ("The answer is therefore Evelyn.", "Evelyn"),
        ("The answer is 5, not 6.", "5"),
        ("第 3 题的答案是７。", "７"),
    ],
)
def test_last_declaration_is_taken_without_the_prose_around_it(answer: str, text: str) -> None:
    assert extract_final_answer(answer) == Extraction(text, "declared")


@pytest.mark.parametrize("text", ["5", "-3/4", r"\frac{10}{9}", "$x + 1$", "Evelyn", "28 percent", "(C)"])
def test_a_text_that_is_only_a_value_is_taken_whole(text: str) -> None:
    assert extract_final_answer(f" {text}\n") == Extraction(text.strip("$"), "whole")


def test_a_last_formula_is_not_reduced_to_its_last_number() -> None:
    assert extract_final_answer(r"Hence we get $\frac{3}{4}$ in all.") == Extraction(r"\frac{3}{4}", "formula")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("She sells 9 eggs and makes 18 dollars every day.", "18"),
        ("That leaves us with 1,234.", "1,234"),
        ("It is now colder, at −3.5.", "−3.5"),
        ("In the end the share is 3/4.", "3/4"),
        ("So the rate came to 28 percent of all.", "28 percent"),
        ("They all together cost $26/day", "$26"),
        ("Then we have 48+24=72 clips", "72"),
        ("2*50 = <<2*50=100>>100 dollars in all for her", "100"),
        ("They cost $5 and $6 each", "$6"),
    ],
)
def test_without_anything_else_the_last_number_is_taken(answer: str, text: str) -> None:
    assert extract_final_answer(answer) == Extraction(text, "last_number")


@pytest.mark.parametrize("answer", [r"So it has to be 2p", r"Thus it must be \frac{3}{4}."])
def test_a_number_inside_an_expression_is_not_taken_alone(answer: str) -> None:
    extraction = extract_final_answer(answer)
    assert extraction is not None
    assert extraction.text in {"2p", r"\frac{3}{4}"}


@pytest.mark.parametrize(
    "answer", ["The answer is not 5.", r"It is not \boxed{5}", "The count surely isn't 5.", r"$\neq$ \boxed{5}"]
)
def test_a_denied_value_keeps_its_denial(answer: str) -> None:
    extraction = extract_final_answer(answer)
    assert extraction is not None
    assert extraction.text == "not 5"


@pytest.mark.parametrize("answer", ["", "   \n", "I do not know how to do this one, sorry.", r"\boxed{}", "٣ ٤ ٥"])
def test_prose_without_a_value_gives_nothing(answer: str) -> None:
    assert extract_final_answer(answer) is None


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(LATEX_PIECES, max_size=30).map("".join)))
def test_any_text_is_taken_without_an_error(text: str) -> None:
    extraction = extract_final_answer(split_reasoning(text))
    assert extraction is None or extraction.text


@settings(deadline=None)
@given(st.text(alphabet="abc {}\\$5\n", max_size=60), st.integers(0, 999))
def test_a_box_at_the_end_is_found_after_any_text(before: str, number: int) -> None:
    assert extract_final_answer(rf"{before}. So \boxed{{{number}}}") == Extraction(str(number), "boxed")


@pytest.mark.parametrize(
    "piece",
    [r"\boxed{", "{", "\\", "9", "a", "=", "1 ", "$ ", r"\( ", "not ", "<think>", "<<", "\n", r"\text{"]
    + ["answer ", "answer is ", "answer is now going to be 5, ", "answer" + " " * 40_000, r"\boxed" + " " * 40_000],
)
def test_a_megabyte_of_text_takes_less_than_a_second(piece: str) -> None:
    started = time.process_time()
    extract_final_answer(split_reasoning(piece * (1_000_000 // len(piece)) + "."))
    assert time.process_time() - started < 1.0
