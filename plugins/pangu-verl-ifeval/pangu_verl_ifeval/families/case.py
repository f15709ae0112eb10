"""Capital and small letters."""

from __future__ import annotations

import re

from pangu_verl_ifeval.families.language import is_english
from pangu_verl_ifeval.families.relation import Relation, holds

_WORD = re.compile(r"[^\W_]+(?:['’.&-][^\W_]+)*")


def capital_word_frequency(answer: str, *, capital_frequency: int, capital_relation: Relation) -> bool:
    """So many words in capitals alone; "I" is one, "well-KNOWN" is none."""
    return holds(sum(match[0].isupper() for match in _WORD.finditer(answer)), capital_relation, capital_frequency)


def english_capital(answer: str) -> bool:
    """English, and no small letter."""
    return answer.isupper() and is_english(answer)


def english_lowercase(answer: str) -> bool:
    """English, and no capital letter."""
    return answer.islower() and is_english(answer)
