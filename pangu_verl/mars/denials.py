"""What the words around a value say against it ("anything but 5", "5 is wrong", "5? No.") or beside it ("or 6").

Invariant: only words that touch the value count, so that a sentence elsewhere takes nothing away. Callers hand over a
short stretch of text.
"""

from __future__ import annotations

import re

_BEFORE = re.compile(
    r"(?:\b(?:not|never|cannot)|n['’]t|\banything\s+but|\binstead\s+of"
    r"|(?<!\bno )(?<!\bnone )\b(?:other|rather|less|more|greater|fewer|smaller|larger)\s+than|≠|!=|\\neq?)"
    r"(?:\s+(?:be|equal\s+to|exactly))?[\s$*:({\[\\]*$",
    re.IGNORECASE,
)
_NOT_RIGHT = r"not\s+(?:right|correct|true|it|the\s+(?:(?:right|correct|final)\s+)?answer)"
_WRONG = rf"(?:wrong|incorrect|false|untrue|{_NOT_RIGHT})\b(?!\s+(?:for|if|in|when|unless|only)\b)"
_AFTER = re.compile(
    rf"[\s$*_`)\]}}\\\"'”’.,;!?]*(?:no[.,!]|(?:(?:that|this|which|it)\s+)?(?:is|was)\s+{_WRONG}|but\s+{_WRONG})",
    re.IGNORECASE,
)
_EITHER = re.compile(
    r"\beither\b[^0-9]{0,40}(?P<first>[-+−]?[0-9][0-9.,/]*)\b.{0,40}\bor\b[^0-9]*$", re.IGNORECASE | re.DOTALL
)
_OR_ANOTHER = re.compile(
    r"[\s$*.!?;,]+or\s+(?:(?:maybe|perhaps|possibly|else|even)\s+)?[$*\\(]*(?P<other>[-+−]?[0-9]++(?:[.,/][0-9]++)*+)"
    r"[$*\\)]*\s*(?:[.!?\n]|\Z)",
    re.IGNORECASE,
)


def denied_before(before: str) -> bool:
    """Whether a text that ends where a value begins denies it."""
    return bool(_BEFORE.search(before))


def denied_after(after: str) -> bool:
    """Whether a text that begins where a value ends takes it back."""
    return bool(_AFTER.match(after))


def another_before(before: str) -> str | None:
    """The number that "either ... or" offers before the one that follows the text."""
    match = _EITHER.search(before)
    return match["first"] if match else None


def another_after(after: str) -> str | None:
    """The bare number that a text which begins where a value ends offers: ". Or 6." but not "or 6 hours"."""
    match = _OR_ANOTHER.match(after)
    return match["other"] if match else None
