"""The staleness policies: what becomes of a group that grows too old before it is trained on.

Each keeps the same invariant, which ``Scheduler.take`` asserts: no token whose lag is over its group's bound s reaches
the loss. They differ in who pays: ``wait`` the trainer, ``drop`` the rollout, ``mask`` the tokens. Third parties add
theirs by the hook ``register_staleness_policies``. What is admitted and in which order is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pangu_verl.errors import RunFailed, WrongUse, first_line
from pangu_verl.queue.entries import Group, State
from pangu_verl.scheduler.options import configured
from pangu_verl.types import StalenessPolicy


def fresh_tokens(group: Group, version: int, bound_versions: int) -> int:
    """Tokens of the finished trajectories whose lag at ``version`` is within the bound."""
    oldest = version - bound_versions
    return sum(
        segment.tokens
        for trajectory in group.finished.values()
        for segment in trajectory.segments
        if segment.version >= oldest
    )


def fresh_share(group: Group, version: int, bound_versions: int) -> float:
    """``fresh_tokens`` as a share of all tokens of the finished trajectories; 1 where there are none."""
    total = sum(trajectory.tokens for trajectory in group.finished.values())
    return fresh_tokens(group, version, bound_versions) / total if total else 1.0


def is_waited_for(policy: StalenessPolicy, group: Group) -> bool:
    """What the policy says of ``group``; raises ``RunFailed`` with its name where it cannot."""
    with _blamed(policy):
        return bool(policy.is_waited_for(group))


def gives_up(policy: StalenessPolicy, group: Group, next_version: int, bound_versions: int) -> bool:
    """What the policy says of ``group``; raises ``RunFailed`` with its name where it cannot."""
    with _blamed(policy):
        return bool(policy.gives_up(group, next_version, bound_versions))


@dataclass(frozen=True, slots=True)
class Wait:
    """The trainer waits for stragglers: nothing is dropped, nothing masked.

    Bound: s. A group started at version v has the deadline v + s. ``Scheduler.take`` starts a step at version V only if
    for each x >= V the groups with a deadline up to x that remain are at most the places left for them, (x - V) steps
    of a version; for x = V that is none. Dispatch keeps this true for new groups, so by induction each group is
    consumed by its deadline, and its oldest token then has lag V - v <= s.

    Cost: a trajectory of the longest duration L started just after a publication is consumed within s + 1 steps, less
    the last one's training time t: step time >= (L + t) / (s + 1) (anchors: stale synchronous parallelism).
    """

    name = "wait"
    masks_tokens = False

    def is_waited_for(self, group: Group) -> bool:
        return True

    def gives_up(self, group: Group, next_version: int, bound_versions: int) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Drop:
    """Groups over the bound are evicted as soon as no step can take them in time, and generated anew.

    Bound: s, as a group whose oldest token would be over it is evicted before the next ``take`` and never handed out.
    Starvation: after ``most_evictions`` evictions a group is waited for as under ``wait``, so each prompt is trained on
    after at most ``most_evictions`` + 1 generations, lost servers and resumptions aside (1: project default). Dropping
    favours short answers: see ``trained_length_ratio``.
    """

    name = "drop"
    masks_tokens = False
    most_evictions: int = 1

    def __post_init__(self) -> None:
        _check_evictions(self.most_evictions)

    def with_options(self, options: Mapping[str, Any]) -> Drop:
        return configured(self, options)

    def is_waited_for(self, group: Group) -> bool:
        return group.evictions >= self.most_evictions

    def gives_up(self, group: Group, next_version: int, bound_versions: int) -> bool:
        if self.is_waited_for(group) or group.started_version is None:
            return False
        return next_version - group.started_version > bound_versions


@dataclass(frozen=True, slots=True)
class Mask:
    """Trajectories go on across publications; tokens over the bound are context only.

    Bound: s, token by token: a segment of version u counts at version V only if V - u <= s, whatever was waited for.
    A ready group of which less than ``least_fresh_share`` (0..1) would count is generated anew, at most
    ``most_evictions`` times; then it is trained on with what is fresh. So each prompt is trained on after at most
    ``most_evictions`` + 1 generations, lost servers and resumptions aside, and no step waits. Both are project
    defaults: in simulations a floor buys back trained length at little cost in fresh tokens.
    """

    name = "mask"
    masks_tokens = True
    least_fresh_share: float = 0.2
    most_evictions: int = 1

    def __post_init__(self) -> None:
        _check_evictions(self.most_evictions)
        if not 0.0 <= self.least_fresh_share <= 1.0:
            raise WrongUse(f"least_fresh_share lies in 0..1, not {self.least_fresh_share}")

    def with_options(self, options: Mapping[str, Any]) -> Mask:
        return configured(self, options)

    def is_waited_for(self, group: Group) -> bool:
        return False

    def gives_up(self, group: Group, next_version: int, bound_versions: int) -> bool:
        if group.state is not State.READY or group.evictions >= self.most_evictions:
            return False
        return fresh_share(group, next_version, bound_versions) < self.least_fresh_share


def _check_evictions(most_evictions: int) -> None:
    if most_evictions < 0:
        raise WrongUse(f"most_evictions is 0 or more, not {most_evictions}")


@contextmanager
def _blamed(policy: StalenessPolicy) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise RunFailed(
            f"staleness policy {policy.name!r} failed: {type(error).__name__}: {first_line(error)}; mend it"
        ) from error
