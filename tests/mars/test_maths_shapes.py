"""Answers of every shape that mean the same as the gold, and near ones that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pangu_verl.mars.maths import MathsSource
from pangu_verl.types import RewardRow, Verdict

OPTIONS = "Which is it? (A) 10 (B) 11 (C) 12 (D) 13"


@pytest.fixture(scope="module")
def source() -> Iterator[MathsSource]:
    maths = MathsSource()
    yield maths
    maths.close()


def judge(source: MathsSource, gold: str, answer: str, question: str = "") -> Verdict:
    boxed = rf"\boxed{{{answer}}}"
    row = RewardRow(id="1", domain="math", question=question, response=boxed, answer=boxed, ground_truth=gold)
    return asyncio.run(source.judge(row))


SAME = [
    # sets and lists
    (r"\{1,2,3\}", "3, 1, 2"),
    (r"\{1,2\}", r"2 \text{ and } 1"),
    ("5, 1", r"x=1 \text{ or } x=5"),
    ("1, 2", "Maximum = 2, Minimum = 1"),
    ("7, 14", "Anna: 14, Ben: 7"),
    ("x=1, y=2", "y=2, x=1"),
    ("x=1, y=2", "(1, 2)"),
    ("(x, y) = (1, 2)", "x=1, y=2"),
    ("16, 3, 1", "w=16, d=3, a=1"),
    ("(2,3),(3,2)", r"\{(3,2),(2,3)\}"),
    ("p=5,q=2;p=7,q=2", "(5,2),(7,2)"),
    (r"\pm 2", "-2, 2"),
    (r"3 \pm \sqrt{2}", r"3+\sqrt{2}, 3-\sqrt{2}"),
    # sets of real numbers
    (r"x \in [-2,7]", "[-2, 7]"),
    ("1 < x < 3", "(1, 3)"),
    ("1 < x < 3", r"x > 1 \text{ and } x < 3"),
    (r"x \ge \frac{1}{2}", r"[0.5, +\infty)"),
    ("x > 1", "1 < x"),
    (r"a \leqslant -2 \text{ or } a = 1", r"(-\infty, -2] \cup \{1\}"),
    (r"\{x \mid x < 3\} - \{1\}", r"(-\infty, 1) \cup (1, 3)"),
    (r"x \neq 2", r"(-\infty,2)\cup(2,\infty)"),
    (r"[0,1] \cup [1,2]", "[0, 2]"),
    ("all real numbers", r"(-\infty, \infty)"),
    ("no real solutions", r"\emptyset"),
    ("b < a < c", "b, a, c"),
    ("a > b", "b < a"),
    # matrices and vectors
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1 & 2 \\ 3 & \frac{8}{2}\end{bmatrix}"),
    (r"\begin{pmatrix} -7 \\ 16 \\ 5 \end{pmatrix}", "(-7, 16, 5)"),
    # equations
    ("x = 3", "3"),
    ("3", "x = 3"),
    ("y = 2x + 1", "2x - y + 1 = 0"),
    ("y + 1 = x^2", "x^2 - 1"),
    ("x^2 + y^2 = 4", "2x^2 + 2y^2 - 8 = 0"),
    ("f(x) = 2x", "2x"),
    (r"\frac{1}{a} + \frac{1}{a} = \frac{2}{a}", r"\frac{4}{2a}"),
    # formulas
    (r"2 \arcsin \sqrt{a}", r"\arccos(1 - 2a)"),
    (r"(-1)^n", r"\cos(n\pi)"),
    ("x^2 - 1", "(x-1)(x+1)"),
    (r"\frac{1}{x}, x \neq 0", r"\frac{1}{x}"),
    # units, degrees, percent, money
    (r"2.5 \ \mathrm{m}", "2.5"),
    (r"4\pi \text{ cm}^2", r"4\pi"),
    (r"\frac{\pi}{6}", r"30^\circ"),
    (r"45^{\circ}", "45"),
    ("25%", r"\frac14"),
    (r"\$2.50", "2.5"),
    ("5 hours", "5"),
    # numbers
    (r"1.5 \times 10^5", "150000"),
    ("2 1/2", r"\frac{5}{2}"),
    ("15th day", "15"),
    ("3", "three"),
    ("twenty-one", "21"),
    ("3:4", r"\frac{3}{4}"),
    ("1:2:3", "2:4:6"),
    ("1011_2", r"1011_{\text{two}}"),
    ("1011_2", "1011"),
    ("0.25", "0,25"),
    (r"\frac{6}{5} \approx 1.2", r"\frac{12}{10}"),
    # damaged spelling
    ("\x0crac{1}{x}", r"\frac{1}{x}"),
    ("3<sup>x</sup>", "3^x"),
    (r"\text{sin}(2x)", r"\sin 2x"),
]


@pytest.mark.parametrize(("gold", "answer"), SAME)
def test_the_same_meaning_in_another_shape_is_right(source: MathsSource, gold: str, answer: str) -> None:
    verdict = judge(source, gold, answer)
    assert verdict.passed is True, verdict.reason


OTHER = [
    (r"\{1,2,3\}", "1, 2"),
    (r"\{1,2\}", "1, 3"),
    ("x=1, y=2", "x=2, y=1"),
    ("x=1, y=2", "(2, 1)"),
    ("x=1, y=2", "2, 1"),
    ("(1,2)", "(2,1)"),
    ("(2,3),(3,2)", "(2,3)"),
    ("[1,2]", "(1,2)"),
    ("x > 1", r"[1,\infty)"),
    (r"x \ge 2", "x > 2"),
    (r"x \neq 2", r"(-\infty,\infty)"),
    ("b < a < c", "a, b, c"),
    ("1:2:3", "1:2:4"),
    ("12:00", "1:00"),
    ("1011_2", "11"),
    ("1011_2", "1011_3"),
    ("y = 2x + 1", "y = 2x - 1"),
    ("x^2 + y^2 = 4", "4"),
    (r"f(x)=0 \text{ or } f(x)=x", "f(x)=x"),
    ("5", r"5 \text{ or } 6"),
    ("2", r"\pm 2"),
    (r"\sqrt{x^2}", "x"),
    ("x^2", "x2"),
    (r"\frac{\pi}{6}", r"60^\circ"),
    (r"\frac{\pi}{6}", "30"),
    (r"1 - \frac{1}{e}", r"1 + \frac{1}{e}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"),
    ("x > 1, x \\neq 2", "x > 1"),
    ("i", "-i"),
    ("1,2", "1.2"),
    ("10^{40}", "10^{40}+1"),
    ("no solution", "all real numbers"),
]


@pytest.mark.parametrize(("gold", "answer"), OTHER)
def test_a_near_but_other_meaning_never_passes(source: MathsSource, gold: str, answer: str) -> None:
    assert judge(source, gold, answer).passed is not True


@pytest.mark.parametrize(
    ("gold", "answer", "question"),
    [
        ("f(z) = z", "f(x) = x", "Find all functions with $f(x+y) = f(x)+f(y)$."),
        (r"x = 2k\pi", r"2n\pi", r"Solve $\cos x = 1$."),
        ("(1 + 3t, 2 - t)", r"(1 + 3s, 2 - s) \text{ for some integer } s", "Find all integer pairs."),
    ],
)
def test_a_letter_that_the_question_lacks_may_be_another(
    source: MathsSource, gold: str, answer: str, question: str
) -> None:
    assert judge(source, gold, answer, question).passed is True


def test_a_letter_of_the_question_keeps_its_meaning(source: MathsSource) -> None:
    assert judge(source, r"\pi r^2", r"\pi h^2", "A cylinder has radius $r$ and height $h$.").passed is False


@pytest.mark.parametrize(
    ("gold", "answer", "passed"),
    [
        ("C", "12", True),
        ("C", "(C) 12", True),
        ("12", "(C)", True),
        ("12", r"\text{C}", True),
        ("C", "11", False),
        ("C", "(B) 12", False),
        ("12", "B", False),
        ("C", "A or C", False),
    ],
)
def test_a_letter_stands_for_its_option_in_the_question(
    source: MathsSource, gold: str, answer: str, passed: bool
) -> None:
    assert judge(source, gold, answer, OPTIONS).passed is passed


@pytest.mark.parametrize(
    ("gold", "answer", "question", "passed"),
    [
        ("The function is odd.", "odd", "", True),
        ("The function is odd.", "even", "", False),
        ("Any odd number greater than 3", "odd", "", False),
        ("Yes, it is possible", "yes", "", True),
        ("Yes, it is possible", "no", "", False),
        ("Petya will win.", "Petya", "Petya plays with Vasya, and Vasya begins with Petya. Who wins?", True),
        ("Petya will win.", "Vasya", "Petya plays with Vasya, and Vasya begins with Petya. Who wins?", False),
    ],
)
def test_a_word_is_compared_with_the_one_that_the_gold_sentence_offers(
    source: MathsSource, gold: str, answer: str, question: str, passed: bool
) -> None:
    assert judge(source, gold, answer, question).passed is passed
