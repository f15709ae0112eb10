"""Random streams that depend on what they are for, not on when they are drawn.

Invariant: the same seed, subject and attempt give the same numbers whatever else was drawn before, so that policies
are compared on common random numbers. Counter-based (Philox), so a stream costs no state and no two overlap.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Use(IntEnum):
    """What a stream is drawn for. The numbers are part of every result: they never change their meaning."""

    PROMPT = 0
    SAMPLES = 1
    FAILURES = 2
    ESTIMATE = 3


def stream(seed: int, use: Use, subject: int, attempt: int = 0) -> np.random.Generator:
    """The numbers of one subject: a prompt's or a replica's index (0 or more)."""
    # The first word of the counter is the generator's own.
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, attempt, subject, int(use)]))
