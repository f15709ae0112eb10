"""What holds for every answer: formatting that people ignore changes nothing, and a wrong answer is not paid."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pangu_verl.mars.answers import split_reasoning
from pangu_verl.mars.maths import MathsSource
from pangu_verl.types import RewardRow

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def golds(draw: st.DrawFn) -> str:
    """A gold answer of any shape, without the digit 0, so that each change of a digit changes the value."""
    numbers = sorted(draw(st.sets(st.integers(1, 9), min_size=4, max_size=4)))
    a, b, c, d = numbers
    return draw(
        st.sampled_from(
            [
                f"{a}{b}{c}",
                f"-{a}{d}",
                f"{a},{b}{c}{d}",
                f"{a}.{b}{c}",
                rf"\frac{{{b}}}{{{a}{d}}}",
                rf"{a} + \sqrt{{{b}}}",
                rf"\{{{a}, {b}, {c}\}}",
                f"{a}, {b}, {d}",
                f"({a}, {d})",
                f"[{a}, {c}]",
                rf"(-\infty, {a}] \cup ({b}, {c})",
                f"x = {a}{b}",
                f"{a}x^{{{b}}} + {c}x - {d}",
                rf"\frac{{x + {a}}}{{x - {b}}}",
                rf"\begin{{pmatrix}}{a}&{b}\\{c}&{d}\end{{pmatrix}}",
                f"{a} < x < {c}",
                rf"{a}\pi",
                f"({a},{b}),({c},{d})",
            ]
        )
    )


def wide(text: str) -> str:
    return re.sub(r"(?<!\\)([=+<(,])", r"\1 ", text) if r"\begin" not in text and not _grouped(text) else text


def sized(text: str) -> str:
    balanced = all(text.count(opening) == text.count(closing) for opening, closing in ("()", "[]"))
    return re.sub(r"([([])", r"\\left\1", re.sub(r"([)\]])", r"\\right\1", text)) if balanced else text


def grouped(text: str) -> str:
    return f"{int(text):,}" if text.isdigit() else text


def _grouped(text: str) -> bool:
    return re.fullmatch(r"[0-9],[0-9]{3}", text) is not None


FORMATS: list[Callable[[str], str]] = [
    str,
    wide,
    sized,
    grouped,
    lambda text: text.replace(r"\frac", r"\dfrac"),
    lambda text: text.replace(r"\frac", r"\tfrac"),
    lambda text: text.replace(" ", ""),
    lambda text: text.replace("-", "−"),
    lambda text: text.replace(", ", r",\ "),
    lambda text: text + ".",
    lambda text: f" {text} ",
    lambda text: f"${text}$",
    lambda text: rf"\displaystyle {text}",
]
CONTEXTS = [
    r"\boxed{%s}",
    r"So in the end \(\boxed{%s}\).",
    "<think>it may be 5</think>Some words first.\n\n\\[\\boxed{%s}\\]\n",
    r"First $\boxed{5}$ seemed right. In truth it is $\fbox{%s}$, as 2 + 2 = 4 shows.",
    "**Answer:** $%s$",
    "The answer is $%s$.",
]


@pytest.fixture(scope="module")
def source() -> Iterator[MathsSource]:
    maths = MathsSource()
    yield maths
    maths.close()


def passed(source: MathsSource, gold: str, response: str) -> bool | None:
    answer = split_reasoning(response)
    row = RewardRow(id="1", domain="math", question="", response=response, answer=answer, ground_truth=gold)
    return asyncio.run(source.judge(row)).passed


@SETTINGS
@given(gold=golds(), formats=st.lists(st.sampled_from(FORMATS), max_size=3), context=st.sampled_from(CONTEXTS))
def test_formatting_that_people_ignore_changes_no_verdict(
    source: MathsSource, gold: str, formats: list[Callable[[str], str]], context: str
) -> None:
    answer = gold
    for change in formats:
        answer = change(answer)
    assume("$" not in context or "$" not in answer)
    assert passed(source, gold, context % answer) is True


@SETTINGS
@given(gold=golds(), place=st.integers(0, 20), digit=st.integers(1, 9), context=st.sampled_from(CONTEXTS))
def test_another_digit_is_never_paid(source: MathsSource, gold: str, place: int, digit: int, context: str) -> None:
    at = [match.start() for match in re.finditer("[0-9]", gold)]
    index = at[place % len(at)]
    assume(gold[index] != str(digit))
    wrong = gold[:index] + str(digit) + gold[index + 1 :]
    assert passed(source, gold, context % wrong) is not True


@SETTINGS
@given(gold=golds(), place=st.integers(0, 5), context=st.sampled_from(CONTEXTS))
def test_another_sign_is_never_paid(source: MathsSource, gold: str, place: int, context: str) -> None:
    at = [match.start() for match in re.finditer(r"[-+]", gold)]
    if at:
        index = at[place % len(at)]
        wrong = gold[:index] + {"-": "+", "+": "-"}[gold[index]] + gold[index + 1 :]
    else:
        first = re.search("[0-9]", gold)
        assert first is not None
        wrong = gold[: first.start()] + "-" + gold[first.start() :]
    assert passed(source, gold, context % wrong) is not True


@SETTINGS
@given(
    elements=st.lists(st.integers(-50, 50), min_size=2, max_size=6, unique=True),
    place=st.integers(0, 5),
    braces=st.sampled_from([r"\{%s\}", "%s"]),
)
def test_a_set_is_right_in_any_order_and_wrong_with_one_element_less(
    source: MathsSource, elements: list[int], place: int, braces: str
) -> None:
    gold = r"\{" + ", ".join(map(str, elements)) + r"\}"
    shuffled = sorted(elements, key=lambda element: (element * 7919) % 101)
    assert passed(source, gold, r"\boxed{%s}" % (braces % ", ".join(map(str, shuffled)))) is True
    less = [element for index, element in enumerate(elements) if index != place % len(elements)]
    assert passed(source, gold, r"\boxed{%s}" % (braces % ", ".join(map(str, less)))) is False


@SETTINGS
@given(gold=golds(), other=golds())
def test_a_right_answer_beside_another_is_never_paid(source: MathsSource, gold: str, other: str) -> None:
    assume(passed(source, gold, rf"\boxed{{{other}}}") is False)
    for response in (rf"\boxed{{{gold}}} and \boxed{{{other}}}", rf"\boxed{{{gold}}}\boxed{{{other}}}"):
        assert passed(source, gold, response) is not True
    assert passed(source, gold, rf"<think>\boxed{{{gold}}}</think>\boxed{{{other}}}") is False
