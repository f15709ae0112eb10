"""The answer in a gold text, which may be the answer alone or a whole solution that ends in it."""

from __future__ import annotations

import re

from pangu_verl.mars.answers import extract_final_answer, find_boxed
from pangu_verl.mars.maths.repair import restored

PROSE_WORDS = 25

_OPEN_BOX = re.compile(r"\\{1,2}(?:boxed|fbox)\s*\{(.*)", re.DOTALL)
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}")


def gold_answer(ground_truth: str) -> str:
    """The last box, what follows ``####``, the final answer of a long solution, or else the whole text."""
    text = restored(ground_truth).strip()
    boxed = find_boxed(text)
    if boxed:
        return boxed
    if (cut_off := _OPEN_BOX.search(text)) is not None:
        return cut_off[1].strip()
    text = text.rpartition("####")[2].strip()
    if len(_WORD.findall(text)) > PROSE_WORDS and (extraction := extract_final_answer(text)) is not None:
        return extraction.text
    return text
