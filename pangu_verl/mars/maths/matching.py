"""Combining findings of which each is True, False or None ("not understood").

Invariant: all of a list is only True if each is, and only False if one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Part = TypeVar("Part")


def all_of(findings: Iterable[bool | None]) -> bool | None:
    """Stops at the first False."""
    understood = True
    for finding in findings:
        if finding is False:
            return False
        understood = understood and finding is True
    return True if understood else None


def matched(golds: Sequence[Part], answers: Sequence[Part], same: Callable[[Part, Part], bool | None]) -> bool | None:
    """Whether each gold has an answer of its own, in any order. Equality is taken to be transitive."""
    free = list(answers)
    understood = True
    for gold in golds:
        for index, answer in enumerate(free):
            finding = same(gold, answer)
            if finding:
                del free[index]
                break
            understood = understood and finding is False
        else:
            return False if understood else None
    return True
