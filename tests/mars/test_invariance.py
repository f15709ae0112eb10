"""What holds for every answer: no verdict changes with formatting that people ignore, and none is paid once made wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_answers import MadeAnswer, maths_answers

from pangu_verl.mars.answers import split_reasoning
from pangu_verl.mars.choice import ChoiceSource
from pangu_verl.mars.general import GeneralSource
from pangu_verl.mars.maths import MathsSource
from pangu_verl.types import RewardRow, RewardSource, Verdict

SETTINGS = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Format = Callable[[str], str]


def judged(source: RewardSource, domain: str, gold: str, response: str, question: str = "") -> Verdict:
    answer = split_reasoning(response)
    row = RewardRow(id="1", domain=domain, question=question, response=response, answer=answer, ground_truth=gold)
    return asyncio.run(source.judge(row))


def is_paid(verdict: Verdict) -> bool:
    return verdict.passed is True or (verdict.score or 0.0) > 0.0


# --- mathematics -----------------------------------------------------------------------------------------------------


def spaced(text: str) -> str:
    return re.sub(r"(?<!\\)([=+(\[,])", r"\1  ", text)


def sized(text: str) -> str:
    return re.sub(r"(?:\\\{|[(\[])", r"\\left\g<0>", re.sub(r"(?:\\\}|[)\]])", r"\\right\g<0>", text))


def with_commas(text: str) -> str:
    return re.sub(r"[0-9]+", lambda match: f"{int(match[0]):,}", text, count=1)


def with_plus(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"


def alternate_minus(text: str) -> str:
    return text.replace("-", "−")


ANY_KIND: list[Format] = [
    str,
    sized,
    alternate_minus,
    lambda text: f" {text} ",
    lambda text: f"{text}.",
    lambda text: rf"\displaystyle {text}",
    lambda text: text.replace(r"\frac", r"\dfrac"),
    lambda text: text.replace(r"\frac", r"\tfrac"),
    lambda text: f"{text}\u200b",
]
OF_KIND: dict[str, list[Format]] = {
    "integer": [
        str,
        with_commas,
        with_plus,
        "{}.0".format,
        "{}.00".format,
        "{} apples".format,
        r"{} \text{{ cm}}".format,
        r"\${}".format,
        "{}/1".format,
    ],
    "decimal": [str, with_plus, "{}0".format, "{}00".format, "{} metres".format, r"{} \text{{ kg}}".format],
    "fraction": [
        str,
        with_plus,
        lambda text: re.sub(r"\\frac\{([0-9]+)\}\{([0-9]+)\}", r"\1/\2", text),
        lambda text: re.sub(r"\\frac\{([0-9]+)\}\{([0-9]+)\}", r"{\1 \\over \2}", text),
    ],
    "formula": [str, spaced, lambda text: text.replace(" ", "")],
}
CONTEXTS = [
    r"\boxed{%s}",
    r"So we get $\boxed{%s}$.",
    r"\[ \fbox{%s} \]",
    "The answer is %s",
    "The answer is $%s$.",
    "**Answer:** $%s$",
    "The final answer is **%s**",
    "#### %s",
    "<answer>%s</answer>",
    r"Therefore, the final answer is: $\boxed{%s}$. I hope that it is correct.",
    "$$%s$$",
    r"Hence it is \( %s \)",
    "**Final Answer**\n\n%s",
    "Final answer: `%s`",
    "<think>Is it 17?</think>\n\nThe answer is %s\n",
]


@pytest.fixture(scope="module")
def maths() -> Iterator[MathsSource]:
    source = MathsSource()
    yield source
    source.close()


@st.composite
def formats(draw: st.DrawFn, made: MadeAnswer) -> tuple[Format, str]:
    """One format of the answer's kind, then one for any kind, and what stands around it."""
    inner: Format = draw(st.sampled_from(OF_KIND[made.kind]))
    outer: Format = draw(st.sampled_from(ANY_KIND))
    return lambda text: outer(inner(text)), draw(st.sampled_from(CONTEXTS))


@SETTINGS
@given(data=st.data(), made=maths_answers())
def test_a_right_maths_answer_stays_right_in_every_format(
    maths: MathsSource, data: st.DataObject, made: MadeAnswer
) -> None:
    written, context = data.draw(formats(made))
    verdict = judged(maths, "math", made.right, context % written(made.right))
    assert (verdict.passed, verdict.score) == (True, 1.0), verdict.reason


@SETTINGS
@given(data=st.data(), made=maths_answers())
def test_a_maths_answer_made_wrong_is_paid_in_no_format(
    maths: MathsSource, data: st.DataObject, made: MadeAnswer
) -> None:
    written, context = data.draw(formats(made))
    wrong = data.draw(st.sampled_from(made.wrong))
    assert not is_paid(judged(maths, "math", made.right, context % written(wrong)))


HEDGES = [
    "The answer is not $%s$.",
    r"\boxed{\text{not } %s}",
    r"It is not \boxed{%s}.",
    r"\boxed{%s} is wrong.",
    "The answer is %s? No.",
    r"\boxed{%s \text{ or } 77777}",
    r"\boxed{%s} or \boxed{77777}",
    r"\boxed{77777}\boxed{%s}",
    "<think>%s</think>I do not know.",
    "<!-- The answer is %s -->",
    "The answer is ~~%s~~ 77777",
    r"\boxed{%s}. No, it is \boxed{77777}.",
]


@SETTINGS
@given(made=maths_answers(), hedge=st.sampled_from(HEDGES))
def test_a_right_maths_answer_that_is_denied_hedged_or_hidden_is_not_paid(
    maths: MathsSource, made: MadeAnswer, hedge: str
) -> None:
    assert not is_paid(judged(maths, "math", made.right, hedge % made.right))


# --- choice ------------------------------------------------------------------------------------------------------------

QUESTION = "Which planet is the largest?\nA) Mars\nB) Venus\nC) Jupiter\nD) Saturn"
LETTERS = st.sampled_from("ABCD")
LETTER_CONTEXTS = [
    r"\boxed{%s}",
    r"$\boxed{\text{%s}}$",
    r"\boxed{\textbf{(%s)}}",
    "The answer is %s",
    "The answer is (%s).",
    "The answer is **%s**.",
    "**Answer: %s**",
    "answer:  %s",
    "<answer> %s </answer>",
    "<think>Is it A?</think>The correct option is %s.",
    "%s",
    "(%s)",
    "**%s.**",
    "%s\u200b",
]
LETTER_HEDGES = [
    "The answer is not %s.",
    r"\boxed{\text{not %s}}",
    "It cannot be (%s).",
    "(%s) is wrong.",
    "The answer is %s? No.",
    "The answer is {0} or {1}.",
    "The answer is {0} {1}",
    "The answer is {0}/{1}",
    r"\boxed{{{0}, {1}}}",
    "({0})({1})",
    "Either {0} or {1}",
    "{0}\n{1}",
    "<think>{0}</think>I do not know.",
    "<!-- {0} --> {1}",
]


@SETTINGS
@given(gold=LETTERS, letter=LETTERS, context=st.sampled_from(LETTER_CONTEXTS), with_options=st.booleans())
def test_a_letter_is_judged_alike_in_every_format(gold: str, letter: str, context: str, with_options: bool) -> None:
    verdict = judged(ChoiceSource(), "choice", gold, context % letter, QUESTION if with_options else "")
    assert (verdict.passed, verdict.score) == (letter == gold, float(letter == gold))


@SETTINGS
@given(pair=st.permutations("ABCD"), hedge=st.sampled_from(LETTER_HEDGES), with_options=st.booleans())
def test_a_letter_that_is_denied_or_hedged_is_not_paid(pair: list[str], hedge: str, with_options: bool) -> None:
    response = hedge % pair[0] if "%s" in hedge else hedge.format(*pair)
    assert not is_paid(judged(ChoiceSource(), "choice", pair[0], response, QUESTION if with_options else ""))


# --- general -----------------------------------------------------------------------------------------------------------

TEXTS = st.lists(
    st.sampled_from(["red", "house", "Lutetia", "42", "-3", "1000", "Bach", "river"]),
    min_size=1,
    max_size=6,
    unique=True,
)
TEXT_FORMATS: list[Format] = [
    str,
    str.upper,
    "The {}".format,
    "{}.".format,
    "  {}\n".format,
    "**{}**".format,
    "“{}”".format,
    "<answer>{}</answer>".format,
    "The answer is {}.".format,
    r"Hence \boxed{{{}}}".format,
    lambda text: text.replace("1000", "1,000"),
    lambda text: text.replace(" ", "  "),
    lambda text: text.replace("-", "−"),
    "{}\u200b".format,
]
MUTATIONS: list[Callable[[list[str]], list[str]]] = [
    lambda words: ["not", *words],
    lambda words: [*words, "not"],
    lambda words: [*words[:-1], "forest"],
    lambda words: [*words, "forest"],
    lambda words: words[:-1],
    lambda words: [str(int(word) + 1) if word.lstrip("-").isdigit() else f"{word}s" for word in words],
]


@SETTINGS
@given(words=TEXTS, written=st.sampled_from(TEXT_FORMATS))
def test_a_reference_is_met_in_every_format(words: list[str], written: Format) -> None:
    text = " ".join(words)
    verdict = judged(GeneralSource(), "general", text, written(text))
    assert (verdict.passed, verdict.score) == (True, 1.0), verdict.reason


@SETTINGS
@given(words=TEXTS, written=st.sampled_from(TEXT_FORMATS), changed=st.sampled_from(MUTATIONS))
def test_a_reference_that_is_made_wrong_is_not_met_and_scores_less(
    words: list[str], written: Format, changed: Callable[[list[str]], list[str]]
) -> None:
    verdict = judged(GeneralSource(), "general", " ".join(words), written(" ".join(changed(words))))
    assert verdict.passed is False
    assert verdict.score is not None and verdict.score < 1.0
