"""Which ready groups make the next batch: by priority, as long as every other group can still be trained on in time.

Invariant: where some choice lets every live group be consumed by its deadline, the chosen one does. So priority cannot
starve a ready group: it is trained on by its deadline. What becomes of groups that cannot be in time any more is
decided by the staleness policy (``pangu_verl.scheduler``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def choose(
    deadlines: Integers,
    preference: Integers,
    count: int,
    version: int,
    unready_deadlines: Integers,
    *,
    groups_per_version: int | None = None,
    later_groups: int = 0,
) -> Integers:
    """Positions of the ``count`` ready groups to train on now, in the order of preference.

    ``deadlines``: the last version at which each ready group may be consumed, oldest group first; ``preference``: their
    positions, first choice first; ``unready_deadlines``: those of live groups that are not ready. After this step
    there are ``later_groups`` more places at ``version``, and ``groups_per_version`` (None: ``count``) at each later
    one. A ready group whose deadline has gone is due now. An unready group that no place is left for in time (its
    deadline has gone, or is ``version`` while ``later_groups`` is 0) is not counted, as no choice can still help it.

    *What is needed.* Left groups can all be consumed in time if and only if for every x >= V the number of them with
    a deadline <= x is at most the places left up to x: ``later_groups`` + (x - V) ``groups_per_version`` (Hall's
    condition for unit jobs; then earliest deadline first does it). So from the ready groups with a deadline <= x at
    least need(x) = live groups with a deadline <= x - those places must be chosen now.

    *Why the scan is best.* With ``count`` chosen, that says: at most count - need(x) are chosen from {deadline > x}.
    These sets are nested, so the choices that keep to all limits are the independent sets of a (laminar) matroid.
    Scanning by preference and accepting whatever keeps to the limits therefore ends with as many as any such choice,
    and with the lexicographically best of them. A full choice exists if and only if need(x) <= count and need(x) <=
    the ready groups with a deadline <= x, for every x, since earliest deadline first takes the smaller of the two.

    Where that fails for some x, no choice is in time; then the earliest deadlines are chosen, the oldest first among
    equal ones, and preference has no say. Raises ``ValueError`` if ``preference`` is no order of the ready groups or
    fewer than ``count`` are ready.
    """
    _check(deadlines, preference, count)
    per_version = count if groups_per_version is None else groups_per_version
    unready = unready_deadlines[unready_deadlines >= (version if later_groups else version + 1)]
    # From this many versions on there is a place for all, so later deadlines bind no more than this one.
    horizon = version + len(deadlines) + len(unready)
    due, unready = np.clip(deadlines, version, horizon), np.minimum(unready, horizon)
    cuts = np.unique(np.concatenate([due, unready]))
    ready_until = np.searchsorted(np.sort(due), cuts, side="right")
    unready_until = np.searchsorted(np.sort(unready), cuts, side="right")
    need = ready_until + unready_until - later_groups - (cuts - version) * per_version
    if (need > np.minimum(count, ready_until)).any():
        return np.argsort(deadlines, kind="stable")[:count].astype(np.int64, copy=False)
    room = count - np.maximum(need, 0)
    return _scan(preference, np.searchsorted(cuts, due), room, count)


def _scan(preference: Integers, levels: NDArray[np.intp], room: Integers, count: int) -> Integers:
    """Accept by preference; ``room[x]`` is how many of a level above x may be accepted."""
    left, level_of = room.tolist(), levels.tolist()
    highest_open = next((level for level, free in enumerate(left) if free == 0), len(left))
    chosen: list[int] = []
    for position in preference.tolist():
        if len(chosen) == count:
            break
        if (level := level_of[position]) > highest_open:
            continue
        chosen.append(position)
        for lower in range(level):
            left[lower] -= 1
            if left[lower] == 0:
                highest_open = min(highest_open, lower)
    return np.array(chosen, dtype=np.int64)


def _check(deadlines: Integers, preference: Integers, count: int) -> None:
    if not np.array_equal(np.sort(preference), np.arange(len(deadlines))):
        raise ValueError(f"expected the positions of {len(deadlines)} ready groups as preference, each once")
    if not 0 <= count <= len(deadlines):
        raise ValueError(f"{count} groups are to be chosen, but {len(deadlines)} are ready")
