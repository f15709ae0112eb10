"""The repetition penalty: how much of a response says again what it has said, found by hashing windows of tokens.

Source: the paper's "light repetition penalty based on string hashing"; window and amounts are project defaults.
Invariant: 0 without a repeated window, more with every repeat, at most ``MOST``; linear in the text. A token here is a
word, a run of signs or one ideograph, so that no tokenizer is needed; a rolling hash makes a window cost one step.
"""

from __future__ import annotations

import re
from collections import deque
from itertools import islice

from pangu_verl.types import RewardRow, Verdict

WINDOW_TOKENS = 20
MOST = 0.5
#: More than any context that is trained with; what comes after is not looked at.
SEARCHED_TOKENS = 200_000

# Runs are cut at 16 characters, so that an endless "hahaha" without a space has windows as well.
_TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{1,16}|[^\w\s]{1,16}"
)
_MODULUS = (1 << 61) - 1
_BASE = 1_000_003
_OLDEST = pow(_BASE, WINDOW_TOKENS - 1, _MODULUS)


class RepetitionTerm:
    """Takes ``MOST`` times the share of repeated windows, over the whole response with its reasoning."""

    name = "repetition"

    def apply(self, row: RewardRow, verdict: Verdict) -> float:
        return -MOST * repeated_share(row.response)


def repeated_share(text: str) -> float:
    """The share of a text's windows of ``WINDOW_TOKENS`` tokens that came before, in 0..1; 0 for a shorter text."""
    numbers: dict[str, int] = {}
    window: deque[int] = deque()
    seen: set[int] = set()
    windows = rolling = 0
    for token in islice(_TOKEN.finditer(text), SEARCHED_TOKENS):
        number = numbers.setdefault(token[0], len(numbers) + 1)
        if len(window) == WINDOW_TOKENS:
            rolling -= window.popleft() * _OLDEST
        rolling = (rolling * _BASE + number) % _MODULUS
        window.append(number)
        if len(window) == WINDOW_TOKENS:
            windows += 1
            seen.add(rolling)
    return 1.0 - len(seen) / windows if windows else 0.0
