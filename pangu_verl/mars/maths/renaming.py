r"""Variables that an answer may name as it likes: the argument of ``f(x)=``, and parameters that the question lacks.

Invariant: a letter that the question uses keeps its meaning, so it is never renamed, except as a function's argument.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

MOST_RENAMED = 3

_TOKEN = re.compile(r"\\(?:text|mbox|mathrm|operatorname)\s*\{[^{}]*\}|\\[a-zA-Z]+|[a-zA-Z]")
_FUNCTION = re.compile(r"\s*[a-zA-Z]\s*(?:_\{?[0-9]\}?)?\s*\(\s*([a-zA-Z])\s*\)\s*=")
_CONSTANTS = frozenset("ei")


def renamings(gold: str, answer: str, question: str) -> Iterator[str]:
    """The answer with its own letters replaced by the gold's, in each way that is allowed."""
    bound = _FUNCTION.match(gold), _FUNCTION.match(answer)
    if bound[0] and bound[1] and bound[0][1] not in letters(answer):
        answer = _renamed(answer, {bound[1][1]: bound[0][1]})
        yield answer
    if not question.strip():
        return
    used = _standing_alone(question)
    in_gold, in_answer = letters(_unlabelled(gold)), letters(_unlabelled(answer))
    own_gold = sorted(in_gold - in_answer - _CONSTANTS)
    own_answer = sorted(in_answer - in_gold - _CONSTANTS)
    if len(own_gold) != len(own_answer) or not 1 <= len(own_gold) <= MOST_RENAMED:
        return
    if used & {*own_gold, *own_answer}:
        return
    for order in itertools.permutations(own_gold):
        yield _renamed(answer, dict(zip(own_answer, order, strict=True)))


def letters(text: str) -> set[str]:
    """The single letters of a formula, outside commands and words in text."""
    return {token for token in _TOKEN.findall(text) if len(token) == 1}


def _unlabelled(text: str) -> str:
    return text.rpartition("=")[2]


def _renamed(text: str, names: dict[str, str]) -> str:
    return _TOKEN.sub(lambda match: names.get(match[0], match[0]), text)


def _standing_alone(question: str) -> set[str]:
    """Letters of a question that are no part of a word; the articles "a" and "I" only inside formulas."""
    alone = set(re.findall(r"(?<![a-zA-Z\\'’])[a-zA-Z](?![a-zA-Z'’])", question))
    formulas = " ".join(re.findall(r"\$[^$]{1,400}\$|\\\(.{1,400}?\\\)|\\\[.{1,400}?\\\]", question, re.DOTALL))
    return (alone - {"a", "A", "I"}) | letters(formulas)
