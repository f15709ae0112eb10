"""The truncation penalty: a response that did not end by itself.

Project default. A response is cut off if the row's ``extra`` says so (``truncated``), if it used up all its tokens, or
if its reasoning was opened and never closed. Invariant: ``MOST`` or 0. An answer that is merely short is not cut off.
"""

from __future__ import annotations

from pangu_verl.mars.answers import CLOSE_TAGS, OPEN_TAGS
from pangu_verl.mars.auxiliary.length import count_of
from pangu_verl.types import RewardRow, Verdict

MOST = 0.5


class TruncationTerm:
    """Takes ``MOST`` from a response that was cut off."""

    name = "truncation"

    def apply(self, row: RewardRow, verdict: Verdict) -> float:
        return -MOST if _is_cut_off(row) else 0.0


def _is_cut_off(row: RewardRow) -> bool:
    said = row.extra.get("truncated")
    if isinstance(said, bool):
        return said
    tokens, limit_tokens = count_of(row.extra, "response_tokens"), count_of(row.extra, "max_response_tokens")
    if tokens is not None and limit_tokens and tokens >= limit_tokens:
        return True
    opened = max(row.response.rfind(tag) for tag in OPEN_TAGS)
    return opened > max(row.response.rfind(tag) for tag in CLOSE_TAGS)
