"""What can be said of the groups that live: how many are where, and how long they have been there.

Invariant: a function of the groups alone; ages are in published versions since admission. What was trained on is in
``metrics``.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from pangu_verl.queue.entries import LIVE_STATES, Group


def queue_metrics(live: Collection[Group], version: int) -> dict[str, float]:
    """At policy version ``version``."""
    ages = [version - group.admitted_version for group in live]
    found = {f"queue/{state.name.lower()}_groups": float(sum(g.state is state for g in live)) for state in LIVE_STATES}
    found["queue/age_versions/mean"] = float(np.mean(ages)) if ages else 0.0
    found["queue/age_versions/max"] = float(max(ages, default=0))
    return found
