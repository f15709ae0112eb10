"""The reference-based general reward: whether an answer says what the reference says, word for word.

``passed``: equal after normalisation. ``score``: 1 if passed, else the F1 of shared tokens, the measure of SQuAD
(arXiv 1606.05250), or of shared neighbours where only the order differs. Normalisation drops case, articles,
punctuation and spacing. It keeps what changes the meaning: the sign and the decimal point of a number ("-3"), relations
("x < 3"), the signs of "C++" and "C#". An ideograph is a token of its own.

A JSON array of texts as ground truth holds several references, of which the best counts. Without a reference the
verdict is None: the row needs a preference source. Invariant: linear in the text; only ``row.answer`` is read.
"""

from __future__ import annotations

import json
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from pangu_verl.mars.answers import SEARCHED_CHARACTERS, extract_final_answer, find_declared
from pangu_verl.mars.literal import tagged, visible
from pangu_verl.types import RewardRow, Verdict

LONGEST_CHARACTERS = 500_000
_ARTICLES = frozenset({"a", "an", "the"})
_TOKEN = re.compile(
    r"(?<=\w )[<>=≤≥≠]+(?= ?[\w+-])|(?<=\w)[<>=≤≥≠]+(?=[-+]?[0-9])|(?<=\w)[=≤≥≠](?=\w)|(?<=[A-Za-z])(?:\+\+|#)"
    r"|(?:(?<![\w.)])[-+])?[0-9]+(?:[.,][0-9]+)*(?![^\W\d_])"
    r"|[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+"
)

_THOUSANDS = re.compile(r",(?=[0-9]{3}(?![0-9]))")


class GeneralSource:
    """Judges general rows that have a reference answer."""

    name = "general"
    domains = frozenset({"general"})

    async def judge(self, row: RewardRow) -> Verdict:
        started = time.perf_counter()
        return replace(_judge(row), seconds=time.perf_counter() - started)


def _judge(row: RewardRow) -> Verdict:
    references = [tokens for text in references_of(row.ground_truth) if (tokens := tokens_of(text))]
    if not references:
        return _unjudged("needs a preference source: the row has no ground truth")
    if len(row.answer) > LONGEST_CHARACTERS:
        return _unjudged(f"the match takes {LONGEST_CHARACTERS} characters; the answer has {len(row.answer)}")
    candidates = [tokens for text in _candidates(row.answer) if (tokens := tokens_of(text))]
    if not candidates:
        details = {"format_failure": True, "f1": 0.0}
        return Verdict(score=0.0, passed=False, reason="no answer found", source=GeneralSource.name, details=details)
    passed = any(candidate == reference for candidate in candidates for reference in references)
    f1 = max(_overlap(candidate, reference) for candidate in candidates for reference in references)
    return Verdict(
        score=1.0 if passed else f1,
        passed=passed,
        reason="equals the reference" if passed else f"is not the reference; shares tokens with F1 {f1:.2f}",
        source=GeneralSource.name,
        details={"f1": f1},
    )


def _unjudged(reason: str) -> Verdict:
    return Verdict(score=None, passed=None, reason=reason, source=GeneralSource.name)


def references_of(ground_truth: str | None) -> list[str]:
    """The references in a ground truth: those of a JSON array of texts, else the text itself."""
    text = (ground_truth or "").strip()
    if text.startswith("["):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return [text]
        if isinstance(found, list) and found and all(isinstance(item, str) for item in found):
            return found
    return [text] if text else []


def _candidates(answer: str) -> list[str]:
    """What an answer may be compared as: the content of its last answer tag, else the whole and what it declares."""
    answer = visible(answer)
    if "<answer>" in answer:
        return [tagged(answer)]
    final = extract_final_answer(answer)
    if final and final.found_by == "boxed":
        return [answer, final.text]
    declared = find_declared(answer[-SEARCHED_CHARACTERS:], bool)
    return [answer, declared] if declared else [answer]


def tokens_of(text: str) -> list[str]:
    """The normalised tokens of a text; its articles stay where there is nothing else ("A" as an answer)."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("−", "-")
    tokens = [_THOUSANDS.sub("", token.lstrip("+") or token) for token in _TOKEN.findall(folded)]
    return [token for token in tokens if token not in _ARTICLES] or tokens


def _overlap(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """The F1 of shared tokens; of shared neighbours where all tokens are there in another order ("dog bites man")."""
    f1 = token_f1(candidate, reference)
    if f1 < 1.0 or candidate == reference:
        return f1
    first, second = ([f"{one} {other}" for one, other in pairwise(tokens)] for tokens in (candidate, reference))
    return token_f1(first, second)


def token_f1(candidate: Sequence[str], reference: Sequence[str]) -> float:
    """The harmonic mean of precision and recall of shared tokens, in 0..1."""
    shared = (Counter(candidate) & Counter(reference)).total()
    return 2 * shared / (len(candidate) + len(reference)) if shared else 0.0
