"""Spreads the starts of requests evenly over time.

Invariant: two starts are never less than 60 / ``requests_per_minute`` seconds apart, in whichever thread or event loop
they happen; unused time is not saved up. It does not wait itself: the caller does, so that each loop stays free.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    def __init__(self, *, requests_per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._distance_s = 60.0 / requests_per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._next_start: float | None = None

    def reserve(self) -> float:
        """Takes the next start; returns the seconds until then."""
        with self._lock:
            now = self._clock()
            start = now if self._next_start is None else max(now, self._next_start)
            self._next_start = start + self._distance_s
            return start - now
