"""Answers in words: number words, opposites ("odd", "even"), and letters of a choice against their texts.

Invariant: a word is compared with what the gold or the question plainly offers; nothing is guessed from similarity.
"""

from __future__ import annotations

import re
from fractions import Fraction

from pangu_verl.mars.literal import as_word, normal_form
from pangu_verl.mars.maths.numeric import Number

LONGEST_QUESTION_CHARACTERS = 20_000
LONGEST_SENTENCE_CHARACTERS = 400

_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = {
    word: 10 * number
    for number, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 2)
}
_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "eleventh": 11, "twelfth": 12,
}  # fmt: skip
_SIMPLE = {word: number for number, word in enumerate(_UNITS)} | _TENS | _ORDINALS | {"twice": 2, "once": 1}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}
_OPPOSITES = (
    ("yes", "no"), ("true", "false"), ("odd", "even"), ("increasing", "decreasing"), ("possible", "impossible"),
    ("convergent", "divergent"), ("converges", "diverges"), ("rational", "irrational"), ("prime", "composite"),
    ("positive", "negative"), ("bounded", "unbounded"),
)  # fmt: skip
_GROUPS = {word: frozenset(group) for group in _OPPOSITES for word in group}
_PHRASES = {
    phrase: group
    for group, phrases in {
        "nothing": ("no solution", "no solutions", "no real solution", "no real solutions", "empty set",
                    "the empty set", "there are no solutions", "there is no solution", r"\emptyset", r"\varnothing",
                    "∅", r"\{\}"),
        "undefined": ("does not exist", "dne", "undefined", "doesn't exist"),
        "all": ("all real numbers", "all reals", "any real number", r"\mathbb{r}", "ℝ", r"(-\infty,\infty)",
                r"(-\infty,+\infty)"),
        "endless": ("infinity", r"\infty", "∞", r"+\infty", "infinite", "infinitely many"),
    }.items()
    for phrase in phrases
}  # fmt: skip
_NEGATION = re.compile(r"\b(?:not|never|neither|nor|cannot|no)\b|n['’]t\b", re.IGNORECASE)
_NARROWED = re.compile(r"[0-9=<>]|\b(?:than|except|unless|only|other|between|least|most|if)\b", re.IGNORECASE)
_FORMULA = re.compile(r"\$[^$]{1,200}\$")
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)

_OPTION = re.compile(
    r"(?:(?<=[\s(])|^|\\text(?:bf|rm)?\s*\{\s*)\(?(?P<letter>[A-J])\s*[).:]\s*\}?(?P<text>.*?)"
    r"(?=(?:[\s;,]|\\q?quad|\$|\\text(?:bf|rm)?\s*\{\s*){1,8}\(?[A-J]\s*[).:]|\n|\Z)",
    re.DOTALL,
)
_LETTERED = re.compile(r"(?:\\text(?:bf|rm)?\s*\{)?\s*\(?([A-J])[).:]\s*\}?\s*(\S.*)", re.DOTALL)
_MARKER = re.compile(r"(?<![a-zA-Z])[A-J][).:]|\A[A-J]\W*\Z|\b(?:and|or)\b")


def number_in_words(text: str) -> Number | None:
    """The number that words state: "twenty-one", "three hundred", "third"; None for any other words."""
    words = text.casefold().replace("-", " ").replace(" and ", " ").split()
    if not words or len(words) > 8:
        return None
    total = current = 0
    room = 1000  # what comes next has to be smaller: "one two three" is a list, not six
    for word in words:
        value, scale = _SIMPLE.get(word), _SCALES.get(word)
        if value is not None and value < room:
            current += value
            room = 10 if value in _TENS.values() else 0
        elif scale is not None and 0 < current < scale:
            current *= scale
            room = 100
            if word != "hundred":
                total, current, room = total + current, 0, 1000
        else:
            return None
    return Number(Fraction(total + current))


def set_phrase(text: str) -> str | None:
    """One word for the ways to say "no solution", "undefined", "all real numbers" and "infinite"."""
    return _PHRASES.get(normal_form(text).casefold()) if len(text) <= 60 else None


def opposite_settles(gold: str, answer: str, question: str) -> bool | None:
    """Whether a gold sentence holds the one word of opposites that the answer is; None where that says nothing.

    A gold that says more than the word ("odd and greater than 3") is not settled; formulas of the question add nothing.
    """
    word = as_word(answer)
    if word not in _GROUPS or len(gold) > LONGEST_SENTENCE_CHARACTERS:
        return None
    gold = _FORMULA.sub(lambda match: " " if match[0] in question else match[0], gold)
    words = [found.casefold() for found in _WORD.findall(gold)]
    if word in ("yes", "no", "true", "false"):
        first = words[0] if words else ""
        return first == word if first in _GROUPS[word] else None
    held = _GROUPS[word].intersection(words)
    if not held or _NEGATION.search(gold) or _NARROWED.search(gold):
        return None
    return held == {word} if len(held) == 1 else None


def name_settles(gold: str, answer: str, question: str) -> bool | None:
    """Whether a gold sentence that begins with a name of the question ("Petya will ...") names the answer's."""
    word = answer.strip().rstrip(".")
    sentence = _WORD.findall(gold[:LONGEST_SENTENCE_CHARACTERS])
    if not re.fullmatch(r"[A-Z][a-z]+", word) or len(sentence) < 2 or _NEGATION.search(gold):
        return None
    text = question[-LONGEST_QUESTION_CHARACTERS:]
    # A name stands with a capital inside sentences, too.
    names = set(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+\b", text))
    held = [found for found in sentence if found in names]
    return held[0] == word if len(set(held)) == 1 and sentence[0] == held[0] and word in names else None


def options_of(question: str) -> dict[str, str]:
    """Text by letter of a question's options, where it holds A, B and so on in order; else nothing."""
    text = question[-LONGEST_QUESTION_CHARACTERS:]
    options: dict[str, str] = {}
    for match in _OPTION.finditer(text):
        letter = match["letter"]
        if letter == "A":
            options = {}
        if letter == chr(ord("A") + len(options)):
            options[letter] = match["text"].strip(" \t$;,~\\").strip()
    return options if len(options) >= 2 else {}


def letter_of(text: str) -> str | None:
    """The letter of an answer that is one letter, or one with its option's text: "(C)", "C. 12"."""
    word = as_word(text)
    if word is not None and len(word) == 1 and word.upper() in "ABCDEFGHIJ":
        return word.upper()
    match = _LETTERED.fullmatch(text.strip().strip("$").strip()) if len(text) <= LONGEST_SENTENCE_CHARACTERS else None
    return match[1] if match and not _MARKER.search(match[2]) else None
