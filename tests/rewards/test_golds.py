"""The response that a gold answer makes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.mars.code.extraction import extract_program
from pangu_verl.rewards.golds import fault_in_tests, gold_response
from pangu_verl.rewards.rows import GoldRow

TEST = {"kind": "assert", "code": "assert f() == 1"}


def gold_of(domain: str, gold: str | None, **fields: Any) -> str | None:
    return gold_response(GoldRow(id="1", domain=domain, ground_truth=gold, **fields))


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        ("7", r"\boxed{7}"),
        (r"So \boxed{x+1}.", r"\boxed{x+1}"),
        ("4 - 1 = 3\n#### 3", r"\boxed{3}"),
        (None, r"\boxed{}"),
    ],
)
def test_a_maths_gold_is_boxed(gold: str | None, response: str) -> None:
    assert gold_of("math", gold) == response


@pytest.mark.parametrize(
    ("gold", "response"), [("B", "B"), ("(b)", "B"), ("blue", "B"), ("green", "green"), (None, "")]
)
def test_a_choice_is_its_letter(gold: str | None, response: str) -> None:
    assert gold_of("choice", gold, question="Which?\nA) red\nB) blue") == response


@pytest.mark.parametrize(
    ("gold", "response"), [("Paris", "Paris"), ('["Paris", "paree"]', "Paris"), ("", None), (None, None)]
)
def test_a_general_row_says_its_first_reference(gold: str | None, response: str | None) -> None:
    assert gold_of("general", gold) == response


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from("`\n~ "), min_size=1))
def test_a_program_comes_back_from_its_fence_as_it_was(program: str) -> None:
    program = "def f(): return 1\n" + program.strip() + "\nx = 1"
    response = gold_of("code", program, tests=[TEST])
    assert response is not None
    assert extract_program(response) == program


@pytest.mark.parametrize("gold", ['[{"kind": "assert", "code": "x"}]', '{"inputs": ["1"], "outputs": ["2"]}', "", None])
def test_tests_in_the_ground_truth_are_no_program(gold: str | None) -> None:
    assert gold_of("code", gold, tests=[TEST]) is None
    assert gold_of("code", gold) is None


def test_instructions_have_no_gold() -> None:
    assert gold_of("instruction", "anything") is None


def test_a_plugins_own_domain_answers_with_its_ground_truth() -> None:
    assert gold_of("poems", "a rose") == "a rose"
    assert gold_of("poems", None) is None


def test_tests_are_parsed_without_running_anything() -> None:
    assert fault_in_tests(GoldRow(id="1", domain="code", tests=[TEST])) is None
    assert "tests[0].kind" in (fault_in_tests(GoldRow(id="1", domain="code", tests=[{"kind": "asert"}])) or "")
    assert "no tests" in (fault_in_tests(GoldRow(id="1", domain="code")) or "")
