"""The maths reward, rung by rung, and against hostile input."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pangu_verl.mars.answers import split_reasoning
from pangu_verl.mars.maths import MathsSource, settle_plainly
from pangu_verl.types import RewardRow, RewardSource, Verdict

TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            [r"\boxed{", "}", r"\frac{1}{2}", r"\text{", "$", "x", "^", "2", "+", " ", r"\sqrt{", "=", ",", "-", "not "]
        ),
        max_size=12,
    ).map("".join),
)


@pytest.fixture(scope="module")
def source() -> Iterator[MathsSource]:
    maths = MathsSource()
    yield maths
    maths.close()


def row(gold: str | None, response: str) -> RewardRow:
    answer = split_reasoning(response)
    return RewardRow(id="1", domain="math", question="", response=response, answer=answer, ground_truth=gold)


def judge(source: MathsSource, gold: str | None, response: str) -> Verdict:
    return asyncio.run(source.judge(row(gold, response)))


def test_the_source_fits_the_interface(source: MathsSource) -> None:
    assert isinstance(source, RewardSource)


# --- the rungs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("18", "#### 18"),
        (r"\dfrac{1}{x}", r"\boxed{\frac{1}{x}}"),
        (r"(1,\,2)", r"\boxed{\left( 1, 2 \right)}"),
        ("10:30", "The answer is 10:30."),
        ("It is 3 + 4 = 7.\n#### 7", "7"),
        (r"Hence $\boxed{7}$.", "7"),
    ],
)
def test_the_same_text_is_right_on_the_literal_rung(source: MathsSource, gold: str, answer: str) -> None:
    verdict = judge(source, gold, answer)
    assert (verdict.passed, verdict.score, verdict.details["rung"]) == (True, 1.0, "literal")


@pytest.mark.parametrize("answer", [r"\boxed{\text{(c)}}", "The answer is (C).", "**C**", r"$\mathrm{C}$"])
def test_a_letter_is_compared_as_such(source: MathsSource, answer: str) -> None:
    assert judge(source, "C", answer).passed is True


@pytest.mark.parametrize("answer", ["The answer is A or C.", r"\boxed{AC}", r"\boxed{D}"])
def test_another_word_than_the_gold_is_wrong(source: MathsSource, answer: str) -> None:
    verdict = judge(source, "C", answer)
    assert (verdict.passed, verdict.details["rung"]) == (False, "literal")


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("1/2", "0.50"),
        ("1000", "1,000"),
        ("1,234,567", r"\boxed{1\,234\,567}"),
        ("50%", "0.5"),
        (r"50\%", "50"),
        ("0.5", r"\boxed{50\%}"),
        ("-3", r"\boxed{−3.0}"),
        ("2.5", r"\boxed{2\frac{1}{2}}"),
        (r"\frac{-1}{2}", r"\boxed{-\dfrac12}"),
        ("18", "The answer is $18 per day."),
        (r"15\mbox{ cm}^2", "15"),
        (r"90^\circ", r"\boxed{90}"),
        ("5000000", "5 million"),
        ("1/3", "0.333333"),
        ("7", "答案是７。"),
        ("1e3", "1000"),
    ],
)
def test_equal_numbers_are_right_on_the_numeric_rung(source: MathsSource, gold: str, answer: str) -> None:
    verdict = judge(source, gold, answer)
    assert (verdict.passed, verdict.details["rung"]) == (True, "numeric")


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("1/3", "0.33"),
        ("0.1", "0.10000000000000001"),
        ("3", "3.0000001"),
        ("5", "5 million"),
        ("9007199254740993", "9007199254740992"),
        ("1e400", "1e401"),
        ("50%", "5"),
        ("4", r"So it is \frac{3}{4}."),
    ],
)
def test_unequal_numbers_are_wrong_however_close(source: MathsSource, gold: str, answer: str) -> None:
    verdict = judge(source, gold, answer)
    assert (verdict.passed, verdict.score, verdict.details["rung"]) == (False, 0.0, "numeric")


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\frac{\sqrt{3}}{2}", r"\boxed{\frac{3}{2\sqrt{3}}}"),
        ("x+1", r"\boxed{1+x}"),
        (r"\{1,2\}", r"\boxed{2, 1}"),
        (r"1 - \frac{1}{\mathrm{e}}", r"\boxed{1-e^{-1}}"),
        ("2π", r"\boxed{\pi + \pi}"),
        (r"x \in [-2,7]", r"\boxed{-2 \le x \le 7}"),
        ("5", r"\boxed{x = 5}"),
    ],
)
def test_equal_expressions_are_right_on_the_symbolic_rung(source: MathsSource, gold: str, answer: str) -> None:
    verdict = judge(source, gold, answer)
    assert (verdict.passed, verdict.details["rung"]) == (True, "symbolic")


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("x+1", r"\boxed{x-1}"),
        (r"40 \text{ apples}, 60 \text{ pears}", r"\boxed{40 \text{ apples}, 50 \text{ pears}}"),
        ("5", r"\boxed{5x}"),
        ("5", r"\boxed{x > 5}"),
        ("5", r"\boxed{[0, 10]}"),
        ("5", r"\boxed{\frac{5}{0}}"),
        ("0", r"\boxed{nan}"),
    ],
)
def test_a_different_or_unreadable_expression_never_passes(source: MathsSource, gold: str, answer: str) -> None:
    assert judge(source, gold, answer).passed is not True


def test_numbers_and_words_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)
    fresh = MathsSource()
    for gold, answer in [("18", "18"), ("1/2", "0.50"), ("18", "19"), ("C", "D"), ("7", "nothing here")]:
        judge(fresh, gold, answer)
    fresh.close()


# --- what earns nothing, and what is not judged ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "response", [r"<think>\boxed{5}</think>I could not find out what it is.", r"<think>so \boxed{5}", ""]
)
def test_an_answer_inside_the_reasoning_earns_nothing(source: MathsSource, response: str) -> None:
    verdict = judge(source, "5", response)
    assert (verdict.passed, verdict.score, verdict.reason) == (False, 0.0, "no answer found")
    assert verdict.details["format_failure"] is True


@pytest.mark.parametrize(
    "answer",
    [r"\boxed{4, 5}", r"\boxed{4}, \boxed{5}", "The answer is 4 or 5.", r"\boxed{5 \text{ or } 6}", r"\boxed{\pm 5}"],
)
def test_naming_several_values_earns_nothing(source: MathsSource, answer: str) -> None:
    assert judge(source, "5", answer).passed is False


@pytest.mark.parametrize("answer", ["The answer is not 5.", r"\boxed{\neq 5}", r"It is not \boxed{5}"])
def test_a_denied_answer_earns_nothing(source: MathsSource, answer: str) -> None:
    assert judge(source, "5", answer).passed is False


@pytest.mark.parametrize("gold", [None, "", "  \n"])
def test_a_missing_gold_is_not_judged(source: MathsSource, gold: str | None) -> None:
    verdict = judge(source, gold, "5")
    assert (verdict.passed, verdict.score, verdict.reason) == (None, None, "the row has no ground truth")


def test_an_unreadable_gold_is_not_judged(source: MathsSource) -> None:
    verdict = judge(source, r"3<sup>x</sup>\frac", r"\boxed{3^x}")
    assert (verdict.passed, verdict.score) == (None, None)
    assert "cannot be read" in verdict.reason


@pytest.mark.parametrize("bomb", ["9^{9^{9^9}}", "(" * 500 + "x" + ")" * 500])
def test_a_bomb_is_not_judged_and_the_reason_names_the_limit(source: MathsSource, bomb: str) -> None:
    verdict = judge(source, "5", rf"\boxed{{{bomb}}}")
    assert (verdict.passed, verdict.score) == (None, None)
    assert "0.9 s of CPU time" in verdict.reason


def test_the_row_after_a_bomb_is_judged(source: MathsSource) -> None:
    judge(source, "5", r"\boxed{9^{9^{9^9}}}")
    assert judge(source, "x+1", r"\boxed{1+x}").passed is True


def test_a_box_too_long_for_the_checker_is_not_judged(source: MathsSource) -> None:
    verdict = judge(source, "5", rf"\boxed{{{'1+' * 2000}1}}")
    assert (verdict.passed, verdict.score) == (None, None)
    assert "2000 characters" in verdict.reason


@pytest.mark.parametrize(
    "answer",
    [
        "9" * 1_000_000,
        "{" * 1_000_000,
        r"\boxed{" * 100_000,
        "١٢٣",
        "NaN",
        "inf",
        "-inf",
        "1e400",
        "1e-400",
        "1e999999999",
    ]
    + [r"\boxed{" + "{" * 900 + "x" + "}" * 900 + "}", r"\boxed{\ud800}", "\ud800 5\x00"],
)
def test_hostile_text_never_passes_and_never_raises(source: MathsSource, answer: str) -> None:
    assert judge(source, "123", answer).passed is not True


@pytest.mark.parametrize(
    "text",
    [
        "9" * 100_000,
        "9" * 100_000 + "/" + "7" * 100_000,
        "(10^7)!",
        r"\sum_{i=1}^{10^8} i",
        r"\frac{1}{2}" * 90_000,
        r"\boxed{" * 10_000 + "8" + "}" * 10_000,
        r"\sqrt{" * 300 + "2" + "}" * 300,
        ",".join(["x^2+1"] * 200),
        r"\pm " * 400 + "1",
        r"\cup " * 300,
        "|" * 1_500,
        "A) " * 30_000,
        " " * 1_000_000,
        "8\x00\ud800",
        "1/0",
        "e^{e^{e^{e^{10}}}}",
    ],
)
def test_a_verdict_on_hostile_gold_or_answer_takes_less_than_a_second_of_cpu(source: MathsSource, text: str) -> None:
    for gold, answer in ((text, r"\boxed{5}"), ("5", rf"\boxed{{{text}}}"), (r"\{1, x\}", text)):
        started = time.process_time()
        assert judge(source, gold, answer).passed is not True
        assert time.process_time() - started < 1.0


def test_code_in_an_answer_does_not_run(source: MathsSource, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    judge(source, "x+1", rf"\boxed{{__import__('os').system('touch {mark}')}}")
    judge(source, f"__import__('os').system('touch {mark}')", r"\boxed{x+1}")
    assert not mark.exists()


def test_cancellation_passes_through(source: MathsSource) -> None:
    async def cancel_a_judgement() -> None:
        task = asyncio.ensure_future(source.judge(row("x+1", r"\boxed{9^{9^{9^9}}}")))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel_a_judgement())


def test_rows_are_judged_from_another_thread(source: MathsSource) -> None:
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(judge(source, "x+1", r"\boxed{1+x}")))
    thread.start()
    thread.join()
    assert [verdict.passed for verdict in verdicts] == [True]


# --- properties ------------------------------------------------------------------------------------------------------

FORMATS = st.sampled_from(
    [
        "{0}",
        "{0:,}",
        "{0}.0",
        "{0}.",
        "${0}$",
        "${0:,}",
        "{0}/1",
        r"\boxed{{{0}}}",
        r"\boxed{{{0:,}.00}}",
        r"\frac{{{0}}}{{1}}",
    ]
    + [
        "The answer is {0:,}.",
        "**Answer:** {0}",
        "so it comes to {0:,} dollars in the end.",
        "#### {0}",
        r"$x$ is \({0}\).",
    ]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(-(10**12), 10**12), written=FORMATS)
def test_an_integer_is_right_in_every_format_and_its_successor_wrong(
    source: MathsSource, number: int, written: str
) -> None:
    assert judge(source, str(number), written.format(number)).passed is True
    wrong = judge(source, str(number + 1), written.format(number))
    assert (wrong.passed, wrong.details["rung"]) == (False, "numeric")


@settings(deadline=None)
@given(st.fractions(max_denominator=10**6), st.integers(1, 50))
def test_a_fraction_equals_itself_unreduced(value: Fraction, factor: int) -> None:
    numerator, denominator = (part * factor for part in value.as_integer_ratio())
    unreduced = f"{numerator}/{denominator}"
    assert settle_plainly(str(value), unreduced) in {("numeric", True), ("literal", True)}


@settings(deadline=None)
@given(st.decimals(-1000, 1000, places=4))
def test_a_decimal_equals_its_percentage(value: Decimal) -> None:
    assert settle_plainly(f"{value}", rf"{value * 100}\%") in {("numeric", True), ("literal", True)}


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_plain_comparison_takes_any_two_texts(gold: str, answer: str) -> None:
    settled = settle_plainly(gold, answer)
    assert settled is None or settled[0] in {"literal", "numeric"}


@settings(deadline=None)
@given(TEXTS)
def test_every_text_equals_itself(text: str) -> None:
    assert settle_plainly(text, text) == ("literal", True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gold=TEXTS, response=TEXTS)
def test_every_row_gets_a_verdict(source: MathsSource, gold: str, response: str) -> None:
    verdict = judge(source, gold, response)
    assert verdict.score == (None if verdict.passed is None else float(verdict.passed))
