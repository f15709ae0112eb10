"""Leaves a judge alone that fails, and tries it again with one request at a time.

Invariant: while open, at most one attempt is admitted in each ``open_s``, whatever becomes of it: a trial that is
cancelled cannot jam the breaker. Time comes from the given clock alone. pybreaker and purgatory were weighed: the
first speaks asyncio only through tornado, the second holds a trial's place until it reports back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after ``failures_to_open`` failures in a row, closes with the first success. For any thread."""

    def __init__(self, *, failures_to_open: int, open_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._failures_to_open = failures_to_open
        self._open_s = open_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._next_trial = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= self._failures_to_open

    def admits(self) -> bool:
        """Whether an attempt may be made now; taken while open, it is the trial of this ``open_s``."""
        with self._lock:
            if not self.is_open:
                return True
            if self._clock() < self._next_trial:
                return False
            self._next_trial = self._clock() + self._open_s
            return True

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self.is_open:
                self._next_trial = self._clock() + self._open_s
