"""Which attempts at a prompt run, which rest after a failure, and which have run for too long.

Invariant: an attempt is in one place at most; what is done about it is the feed's. An attempt is a prompt's key and the
number of the attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: How long a prompt rests before it is generated anew, after its first and its second failure (project default).
RESTS_S = (1.0, 10.0)

Attempt = tuple[str, int]


class AwakeClock:
    """Stands still while the servers do: neither leases nor rests run then."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stops = 0
        self._stopped_s = 0.0
        self._lost_s = 0.0

    def __call__(self) -> float:
        return (self._stopped_s if self._stops else self._clock()) - self._lost_s

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """May be entered again while it is open."""
        if not self._stops:
            self._stopped_s = self._clock()
        self._stops += 1
        try:
            yield
        finally:
            self._stops -= 1
            if not self._stops:
                self._lost_s += self._clock() - self._stopped_s


class Attempts:
    """One run's. An attempt that runs for ``lease_s`` hangs."""

    def __init__(self, lease_s: float, clock: Callable[[], float]) -> None:
        self._lease_s = lease_s
        self._clock = clock
        #: In the order in which they were started.
        self._started_s: dict[Attempt, float] = {}
        self._resting_until_s: dict[Attempt, float] = {}
        self._failures: Counter[str] = Counter()

    def start(self, attempt: Attempt) -> None:
        self._started_s[attempt] = self._clock()

    def end(self, attempt: Attempt) -> None:
        """It has ended, well or not, or was given up."""
        self._started_s.pop(attempt, None)

    def succeeded(self, key: str) -> None:
        self._failures.pop(key, None)

    def rests(self, attempt: Attempt) -> bool:
        """It has failed and rests; False if the prompt has failed too often, and nothing more is known of it."""
        key, _ = attempt
        failures = self._failures.pop(key, 0)
        if failures == len(RESTS_S):
            return False
        self._failures[key] = failures + 1
        self._resting_until_s[attempt] = self._clock() + RESTS_S[failures]
        return True

    def rested(self) -> list[Attempt]:
        """Those that have rested; each is given out once."""
        now_s = self._clock()
        due = [attempt for attempt, until_s in self._resting_until_s.items() if until_s <= now_s]
        for attempt in due:
            del self._resting_until_s[attempt]
        return due

    def hung(self) -> list[Attempt]:
        """Those that have run for too long; each is given out once."""
        began_until_s = self._clock() - self._lease_s
        found: list[Attempt] = []
        for attempt, started_s in self._started_s.items():
            if started_s > began_until_s:
                break
            found.append(attempt)
        for attempt in found:
            del self._started_s[attempt]
        return found
