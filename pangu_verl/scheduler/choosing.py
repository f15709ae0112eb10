"""Which groups a step or a dispatch takes, from what the priority prefers and what the deadlines ask for.

Pure functions over the pools. The proofs are in ``pangu_verl.queue.priority`` for the window and in
``pangu_verl.queue.selection`` for the deadlines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from pangu_verl.queue.entries import Group, State
from pangu_verl.queue.priority import Priority, anchored
from pangu_verl.queue.selection import choose
from pangu_verl.queue.terms.candidates import Candidates, Point
from pangu_verl.scheduler.deadlines import Deadlines
from pangu_verl.scheduler.pools import Pools
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import StalenessPolicy


def by_preference(
    groups: Sequence[Group],
    priority: Priority,
    settings: SchedulerSettings,
    *,
    point: Point,
    version: int,
    taken_groups: Mapping[str, float],
) -> Sequence[Group]:
    """``groups`` (oldest first), first choice first: the anchored window by priority, then the rest by admission."""
    if not priority.weights:
        return groups
    window = anchored(groups, settings.overtaking_groups or settings.batch_groups)
    candidates = _candidates(window, settings, point=point, version=version, taken_groups=taken_groups)
    return [*(window[place] for place in priority.order(candidates)), *groups[len(window) :]]


def request_numbers(
    groups: Sequence[Group],
    priority: Priority,
    settings: SchedulerSettings,
    *,
    version: int,
    taken_groups: Mapping[str, float],
) -> list[int]:
    """For each of ``groups`` the number that its requests carry; a server runs lower ones first."""
    candidates = _candidates(groups, settings, point="request", version=version, taken_groups=taken_groups)
    return priority.request_priorities(candidates, settings.overtaking_groups or settings.batch_groups)


def _candidates(
    groups: Sequence[Group],
    settings: SchedulerSettings,
    *,
    point: Point,
    version: int,
    taken_groups: Mapping[str, float],
) -> Candidates:
    return Candidates.of(
        groups,
        point=point,
        version=version,
        bound_of=settings.bound_of,
        taken_groups=taken_groups,
        target_shares=settings.task_shares,
    )


def with_credit(
    preferred: Sequence[Group],
    limit: int,
    pools: Pools,
    settings: SchedulerSettings,
    deadline_of: Callable[[Group], int],
    version: int,
    consumed_at_version: int,
) -> list[Group]:
    """The first of ``preferred`` that can still be consumed in time, ``limit`` at most.

    A group of a tight task may find no room among looser ones that fill every place. It then has a place kept free,
    the first after its deadline, which is a version nearer with each publication; and groups that are younger by the
    window or more do not start, so that in the end those before it are consumed: it starts within s + 1 versions.
    """
    chosen: list[Group] = []
    planned = Deadlines.copy_of(pools.deadlines)
    latest = version + settings.largest_bound_versions
    last_order = math.inf
    for group in preferred:
        if group.order >= last_order:
            continue
        deadline = deadline_of(group)
        if planned.has_room(deadline, version, consumed_at_version):
            planned.add(deadline)
            chosen.append(group)
            if len(chosen) == limit:
                break
        elif planned.reserve(deadline + 1, latest, version, consumed_at_version):
            last_order = min(last_order, group.order + (settings.overtaking_groups or settings.batch_groups))
        else:
            break
    return chosen


def without_credit(
    started: Iterable[Group],
    policy: StalenessPolicy,
    settings: SchedulerSettings,
    deadline_of: Callable[[Group], int],
    version: int,
    consumed_at_version: int,
) -> list[Group]:
    """Those of the ``started`` groups that cannot all be consumed in time, oldest first.

    Places go to groups that the policy waits for before others, to ready ones before running ones, and to older ones.
    """
    places = Deadlines(settings.groups_per_version)
    late: list[Group] = []
    for group in sorted(started, key=lambda group: (not policy.is_waited_for(group), -group.state, group.order)):
        deadline = deadline_of(group)
        if not places.has_room(deadline, version, consumed_at_version):
            late.append(group)
        elif group.state is not State.WAITING:
            places.add(deadline)
    return sorted(late, key=attrgetter("order"))


def must_wait(pools: Pools, settings: SchedulerSettings, version: int, later_groups: int) -> bool:
    """Whether too few groups are ready, or a step would leave one that is waited for until it is over its bound.

    ``later_groups`` more can be consumed at ``version`` after this step (below 0: not even this step's), and the
    settings' number at each later one.
    """
    if later_groups < 0 or len(pools.ready) < settings.batch_groups:
        return True
    running = ready = 0
    for deadline in sorted(+pools.awaited_running | +pools.awaited_ready):
        running += pools.awaited_running[deadline]
        ready += pools.awaited_ready[deadline]
        places = (deadline - version) * settings.groups_per_version + later_groups
        if running and running + max(0, ready - settings.batch_groups) > places:
            return True
    return False


def step_groups(
    pools: Pools,
    preferred: Sequence[Group],
    settings: SchedulerSettings,
    version: int,
    later_groups: int,
    *,
    masks: bool,
) -> list[Group]:
    """The batch: the first of ``preferred``, as far as the deadlines of the others leave a choice."""
    count = settings.batch_groups
    if masks:
        return list(preferred[:count])
    places = {group.key: place for place, group in enumerate(pools.ready)}
    preference = np.array([places[group.key] for group in preferred], dtype=np.int64)
    running = _deadlines(pools, pools.running.values())
    deadlines = _deadlines(pools, pools.ready)
    per_version = settings.groups_per_version
    chosen = choose(
        deadlines, preference, count, version, running, groups_per_version=per_version, later_groups=later_groups
    )
    is_awaited = np.array([group.key in pools.awaited for group in pools.ready], dtype=np.bool_)
    awaited_running = _deadlines(pools, (group for group in pools.running.values() if group.key in pools.awaited))
    left = np.concatenate([np.delete(deadlines, chosen)[np.delete(is_awaited, chosen)], awaited_running])
    if not _are_in_time(left, version, per_version, later_groups):
        # Some will be late whatever is chosen: none that is awaited, and of the others the fewest.
        chosen = choose(
            np.where(is_awaited, deadlines, np.iinfo(np.int64).max),
            np.argsort(deadlines, kind="stable"),
            count,
            version,
            awaited_running,
            groups_per_version=per_version,
            later_groups=later_groups,
        )
    return [pools.ready[place] for place in chosen]


def _are_in_time(deadlines: NDArray[np.int64], version: int, groups_per_version: int, later_groups: int) -> bool:
    """Whether groups with these deadlines find places in the steps after this one."""
    ordered = np.sort(deadlines)
    places = later_groups + (ordered - version) * groups_per_version
    return bool((np.arange(1, len(ordered) + 1) <= places).all())


def _deadlines(pools: Pools, groups: Iterable[Group]) -> NDArray[np.int64]:
    return np.array([pools.deadline_of[group.key] for group in groups], dtype=np.int64)
