"""The rungs that need no child process: the same text, words, letters of a choice, and two numbers.

Invariant: work is linear in the texts; what takes mathematics is None.
"""

from __future__ import annotations

import re
from typing import Literal

from pangu_verl.mars.literal import as_word, is_denied, normal_form
from pangu_verl.mars.maths.numeric import Number, read_number
from pangu_verl.mars.maths.precision import numbers_match, request_of
from pangu_verl.mars.maths.words import (
    letter_of,
    name_settles,
    number_in_words,
    opposite_settles,
    options_of,
    set_phrase,
)

Rung = Literal["literal", "numeric", "symbolic"]

_DECIMAL_COMMA = re.compile(r"\s*\$?\s*([-+]?[0-9]+),([0-9]+)\s*\$?\s*")


def settle_plainly(gold: str, answer: str, question: str = "") -> tuple[Rung, bool] | None:
    """Whether two answers are equal, and the rung that says so; None if that takes mathematics."""
    if normal_form(gold) == normal_form(answer):
        return "literal", True
    if (chosen := _settle_choice(gold, answer, question)) is not None:
        return chosen
    gold_number = _number(gold, bare_units=False)
    if gold_number is None:
        return _settle_words(gold, answer, question)
    if is_denied(answer) and not is_denied(gold):
        return "literal", False
    answer_number = _number(answer, bare_units=True) or _decimal_comma(answer)
    if answer_number is None:
        return ("literal", False) if as_word(answer) is not None else None
    return "numeric", numbers_match(gold_number, answer_number, request_of(question))


def _settle_choice(gold: str, answer: str, question: str) -> tuple[Rung, bool] | None:
    """A letter against a letter, or against the text of its option where the question holds the options."""
    letters = letter_of(gold), letter_of(answer)
    if letters[0] is not None and letters[1] is not None and as_word(gold) is not None:
        return "literal", letters[0] == letters[1] and not is_denied(answer)
    if (letters[0] is None) == (letters[1] is None) or not question:
        return None
    options = options_of(question)
    if letters[0] in options:
        return settle_plainly(options[letters[0]], answer)
    if letters[1] in options:
        return settle_plainly(gold, options[letters[1]])
    return None


def _settle_words(gold: str, answer: str, question: str) -> tuple[Rung, bool] | None:
    for finding in (opposite_settles(gold, answer, question), name_settles(gold, answer, question)):
        if finding is not None:
            return "literal", finding
    phrases = set_phrase(gold), set_phrase(answer)
    if phrases[0] is not None and phrases[1] is not None:
        return "literal", phrases[0] == phrases[1]
    words = as_word(gold), as_word(answer)
    if words[0] is not None and phrases[0] is None and not _may_be_product(words):
        return "literal", words[0] == words[1]
    if is_denied(answer) and not is_denied(gold):
        return "literal", False
    gold_number, number = _decimal_comma(gold), _number(answer, bare_units=True)
    if gold_number is not None and number is not None and gold_number.value == number.value:
        return "numeric", True
    return None


def _may_be_product(words: tuple[str | None, str | None]) -> bool:
    """ "ab" and "ba" may be variables."""
    return all(word is not None and len(word) <= 3 for word in words) and sorted(words[0] or "") == sorted(
        words[1] or ""
    )


def _number(text: str, *, bare_units: bool) -> Number | None:
    number = read_number(text, bare_units=bare_units)
    if number is not None or len(text) > 100:
        return number
    word = as_word(text)
    return number_in_words(word) if word is not None else None


def _may_be_thousands(whole: str, rest: str) -> bool:
    return len(rest) == 3 and len(whole.lstrip("+-")) <= 3 and whole.lstrip("+-") != "0"


def _decimal_comma(text: str) -> Number | None:
    """ "2,74" as 2.74: only where a comma cannot separate thousands, and the other side is one number."""
    match = _DECIMAL_COMMA.fullmatch(text[:100])
    if match is None or len(text) > 100 or (len(match[2]) == 1 and match[1].lstrip("+-") != "0"):
        return None  # "1,2" is rather a list
    if _may_be_thousands(match[1], match[2]):
        return None
    return read_number(f"{match[1]}.{match[2]}", bare_units=False)
