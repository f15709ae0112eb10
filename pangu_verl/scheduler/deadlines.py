"""Credits: how many groups may be started so that each of them can still be trained on within its bound.

A group started at version v under the bound s has the deadline v + s, the last version at which it may be consumed.
Invariant at version V, with G groups consumed between publications and C of them consumed already at V: for each
x >= V, the started groups with a deadline up to x number at most (x - V + 1) * G - C.

With one bound for all this is the capacity (s + 1 + V) * G - (consumed + started) known from AReaL and from verl's
``num_warmup_batches``; here it is counted from the groups that are there, so that nothing has to be seeded again after
a resume. Which groups fill the places is not decided here.
"""

from __future__ import annotations

from collections import Counter


class Deadlines:
    """Counts started groups by deadline. Versions are those of the scheduler's clock."""

    def __init__(self, groups_per_version: int) -> None:
        self._groups_per_version = groups_per_version
        self._counts: Counter[int] = Counter()

    @classmethod
    def copy_of(cls, other: Deadlines) -> Deadlines:
        """Equal to ``other``, to plan with."""
        copy = cls(other._groups_per_version)
        copy._counts = other._counts.copy()
        return copy

    def add(self, deadline: int) -> None:
        self._counts[deadline] += 1

    def remove(self, deadline: int) -> None:
        self._counts[deadline] -= 1
        if not self._counts[deadline]:
            del self._counts[deadline]

    def reserve(self, earliest: int, latest: int, version: int, consumed_at_version: int) -> bool:
        """Count one more group at the first deadline from ``earliest`` to ``latest`` that has room; whether one has."""
        for deadline in range(earliest, latest + 1):
            if self.has_room(deadline, version, consumed_at_version):
                self.add(deadline)
                return True
        return False

    def has_room(self, deadline: int, version: int, consumed_at_version: int) -> bool:
        """Whether one more group with ``deadline`` keeps the invariant at ``version``."""
        until = 0
        for other in sorted({*self._counts, deadline}):
            until += self._counts[other]
            places = (other - version + 1) * self._groups_per_version - consumed_at_version
            if other >= deadline and until >= places:
                return False
        return True
