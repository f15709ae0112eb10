"""The mode term: a fast answer is short.

Project default: a row of mode "fast" loses nothing up to ``FREE_TOKENS``, then linearly to ``MOST`` at ``LONG_TOKENS``.
Slow and automatic rows are left alone, because length is what slow thinking is for. Whether the response has the
structure of its mode is the format gate's business. 0 where ``extra`` does not say ``response_tokens``.
"""

from __future__ import annotations

from pangu_verl.mars.auxiliary.length import count_of, ramp
from pangu_verl.types import RewardRow, Verdict

MOST = 0.25
FREE_TOKENS = 1_024
LONG_TOKENS = 4_096


class FastLengthTerm:
    """Takes up to ``MOST`` from a fast answer that goes on like a slow one."""

    name = "fast_length"

    def apply(self, row: RewardRow, verdict: Verdict) -> float:
        tokens = count_of(row.extra, "response_tokens")
        if row.mode != "fast" or tokens is None:
            return 0.0
        return -MOST * ramp(tokens, FREE_TOKENS, LONG_TOKENS)
