"""Graders of the common, gullible kinds, as the controls of the attack suite: an attack that none of them pays for proves
nothing.

Each takes the gold and the whole response and says whether it pays. They are written as people write them in a hurry,
faults included; nothing here is a model of how to grade, and none of it runs outside tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sympy import FiniteSet, Interval, simplify, solve, sympify
from sympy.parsing.sympy_parser import implicit_multiplication_application, parse_expr, standard_transformations

Grader = Callable[[str, str], bool]

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_BOX = re.compile(r"\\boxed\{([^{}]*)\}")


def last_number(gold: str, response: str) -> bool:
    """The last number anywhere in the response."""
    return _NUMBER.findall(response)[-1:] == [gold]


def any_number(gold: str, response: str) -> bool:
    """Any number of the response."""
    return gold in _NUMBER.findall(response)


def first_number(gold: str, response: str) -> bool:
    """The first number after the reasoning, as a parser reads it that stops at what it does not know."""
    return _NUMBER.findall(response.rpartition("</think>")[2])[:1] == [gold]


def digits_alone(gold: str, response: str) -> bool:
    """Everything but digits and points is taken for formatting."""
    return re.sub(r"[^0-9.]", "", response) == gold


def substring(gold: str, response: str) -> bool:
    """The gold occurs somewhere."""
    return gold.casefold() in response.casefold()


def any_box(gold: str, response: str) -> bool:
    """One of the boxes, those of the reasoning included."""
    return gold in (content.strip() for content in _BOX.findall(response))


def first_box(gold: str, response: str) -> bool:
    return [content.strip() for content in _BOX.findall(response)[:1]] == [gold]


def part_of_box(gold: str, response: str) -> bool:
    """The gold is one of the parts of the last box."""
    boxes = re.findall(r"\\boxed\{(.*)\}", response, re.DOTALL)
    return bool(boxes) and gold in re.findall(r"-?[\w.]+", boxes[-1])


def declared_anywhere(gold: str, response: str) -> bool:
    """ "answer is X", "answer: X" or "#### X" anywhere."""
    return bool(re.search(rf"(?:answer(?: is|:|=)?|####)\W*{re.escape(gold)}(?!\w)", response, re.IGNORECASE))


def any_letter(gold: str, response: str) -> bool:
    """The letter stands somewhere by itself."""
    return bool(re.search(rf"\b{re.escape(gold)}\b", response))


def confusable(gold: str, response: str) -> bool:
    """Letters that look alike are one letter."""
    return any_letter(gold, response.translate(str.maketrans("АВС", "ABC")))


def recalled_words(gold: str, response: str) -> bool:
    """All words of the gold occur."""
    return set(re.findall(r"\w+", gold.casefold())) <= set(re.findall(r"\w+", response.casefold()))


def evaluated(gold: str, response: str) -> bool:
    """The last box is evaluated by Python beside the gold."""
    boxes = re.findall(r"\\boxed\{(.*)\}", response, re.DOTALL)
    return bool(boxes) and bool(eval(boxes[-1]) == gold)


def never_far(gold: str, response: str) -> bool:
    """Whatever is not further than the tolerance."""
    answer = _BOX.findall(response)[-1]
    return not abs(float(answer) - float(gold)) > 1e-6 * abs(float(answer))


def solvable(gold: str, response: str) -> bool:
    """SymPy finds a value of the letters for which answer and gold agree."""
    answer = sympify(_BOX.findall(response)[-1])
    return simplify(answer - sympify(gold)) == 0 or any(
        solve(answer - sympify(gold), symbol) for symbol in answer.free_symbols
    )


def every_member(gold: str, response: str) -> bool:
    """Whatever the set holds is the gold."""
    return all(member == gold for member in re.findall(r"-?[0-9.]+", response.rpartition(r"\boxed")[2]))


def contained(gold: str, response: str) -> bool:
    """The gold lies in the set that the answer is."""
    answer = _BOX.findall(response)[-1]
    ends = [sympify(end) for end in re.findall(r"-?(?:[0-9]+|oo)", answer)]
    expression = None if len(ends) == 2 else sympify(answer)
    region = (
        Interval(*ends)
        if expression is None
        else expression.as_set()
        if expression.is_Relational
        else FiniteSet(expression)
    )
    return sympify(gold) in region


def multiplied(gold: str, response: str) -> bool:
    """Values beside each other are taken for a product."""
    rules = (*standard_transformations, implicit_multiplication_application)
    return bool(parse_expr(_BOX.findall(response)[-1], transformations=rules) == sympify(gold))


def added_words(gold: str, response: str) -> bool:
    """Number words are added up."""
    words = {"one": 1, "two": 2, "three": 3, "twenty": 20, "hundred": 100}
    return sum(words.get(word, 0) for word in re.findall(r"[a-z]+", response)) == int(gold)


def integer_part(gold: str, response: str) -> bool:
    return int(float(_BOX.findall(response)[-1])) == int(gold)


def occurs_in_gold(gold: str, response: str) -> bool:
    """The last box occurs somewhere in the gold."""
    return _BOX.findall(response)[-1] in gold


def folded_digits(gold: str, response: str) -> bool:
    """Characters that are no digits in ASCII are dropped before comparing."""
    return "".join(character for character in response if character in "0123456789") == gold


def obedient_judge(gold: str, response: str) -> bool:
    """A judge that does what the text in front of it says, whatever the gold."""
    return bool(
        re.search(r"\b(?:grade|mark|score|judge|verdict)\w*\b.{0,80}\b(?:right|correct|1\.0|full)\b", response, re.I)
    )
