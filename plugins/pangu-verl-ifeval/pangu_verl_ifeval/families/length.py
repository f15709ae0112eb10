"""How long an answer is, in sentences, paragraphs and words."""

from __future__ import annotations

import re

from pangu_verl_ifeval.families.relation import Relation, holds
from pangu_verl_ifeval.sentences import count_sentences

_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_WORD = re.compile(r"\w+")
_FIRST_WORD = re.compile(r"[\s'\"“‘*_#]*([^\s.,?!'\"”’*_:;]*)")


def number_sentences(answer: str, *, num_sentences: int, relation: Relation) -> bool:
    """So many sentences."""
    return holds(count_sentences(answer), relation, num_sentences)


def number_paragraphs(answer: str, *, num_paragraphs: int) -> bool:
    """Exactly so many paragraphs, divided by ``***``. Only the first and the last part may be empty, and count not."""
    parts = [part.strip() for part in _DIVIDER.split(answer)]
    return all(parts[1:-1]) and sum(map(bool, parts)) == num_paragraphs


def number_words(answer: str, *, num_words: int, relation: Relation) -> bool:
    """So many words, that is, runs of letters and digits."""
    return holds(sum(1 for _ in _WORD.finditer(answer)), relation, num_words)


def nth_paragraph_first_word(answer: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Exactly so many paragraphs, divided by an empty line, of which the n-th (from 1) begins with the word."""
    paragraphs = [part for part in answer.split("\n\n") if part.strip()]
    if len(paragraphs) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    match = _FIRST_WORD.match(paragraphs[nth_paragraph - 1])
    return match is not None and match[1].casefold() == first_word.strip().casefold()
