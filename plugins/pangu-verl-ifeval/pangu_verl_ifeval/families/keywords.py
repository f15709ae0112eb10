"""Words and letters that an answer must hold, or must not; without case."""

from __future__ import annotations

import re

from pangu_verl_ifeval.families.relation import Relation, holds


def existence(answer: str, *, keywords: list[str]) -> bool:
    """All keywords occur, inside words too."""
    folded = answer.casefold()
    return all(keyword.strip().casefold() in folded for keyword in keywords)


def frequency(answer: str, *, keyword: str, frequency: int, relation: Relation) -> bool:
    """The keyword occurs so many times, inside words too."""
    return holds(answer.casefold().count(keyword.strip().casefold()), relation, frequency)


def forbidden_words(answer: str, *, forbidden_words: list[str]) -> bool:
    """None of the words occurs as a whole word."""
    folded = answer.casefold()
    return not any(re.search(rf"(?<!\w){re.escape(word.strip().casefold())}(?!\w)", folded) for word in forbidden_words)


def letter_frequency(answer: str, *, letter: str, let_frequency: int, let_relation: Relation) -> bool:
    """The letter, or sign, occurs so many times."""
    return holds(answer.casefold().count(letter.strip().casefold()), let_relation, let_frequency)
