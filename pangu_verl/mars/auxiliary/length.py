"""The length penalty: a response that comes near its limit of tokens loses a little, before it is cut off.

Project default, after DAPO's soft punishment of overlong answers (arXiv 2503.14476): nothing up to four fifths of the
limit, then linear to ``MOST`` at the limit. Invariant: monotone in length, bounded, and 0 where the row's ``extra``
does not say both ``response_tokens`` and ``max_response_tokens``: characters are never taken for tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pangu_verl.types import RewardRow, Verdict

MOST = 0.5
FREE_SHARE = 0.8


class LengthTerm:
    """Takes up to ``MOST`` in the last fifth before the limit."""

    name = "length"

    def apply(self, row: RewardRow, verdict: Verdict) -> float:
        tokens, limit_tokens = count_of(row.extra, "response_tokens"), count_of(row.extra, "max_response_tokens")
        if tokens is None or not limit_tokens:
            return 0.0
        return -MOST * ramp(tokens, FREE_SHARE * limit_tokens, limit_tokens)


def ramp(value: float, low: float, high: float) -> float:
    """0 up to ``low``, 1 from ``high`` on, linear between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def count_of(extra: Mapping[str, Any], key: str) -> int | None:
    """A count that a row may carry; None where it carries none, or something that is no count."""
    value = extra.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
