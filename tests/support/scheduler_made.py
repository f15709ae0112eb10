"""Prompts, trajectories, priorities and settings as the tests of the scheduler need them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st

from pangu_verl.queue.entries import Group, Prompt, Segment, State, Trajectory
from pangu_verl.queue.priority import Priority
from pangu_verl.queue.terms.candidates import Candidates, FloatColumn
from pangu_verl.scheduler.policies import Drop, Mask, Wait
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import StalenessPolicy

TASKS = ("maths", "code", "chat")


def prompt(key: str, task: str = "maths", trajectories: int = 1, expected_tokens: float | None = None) -> Prompt:
    return Prompt(key=key, task=task, trajectories=trajectories, expected_tokens=expected_tokens)


def prompts(count: int, first: int = 0, task: str = "maths", trajectories: int = 1) -> list[Prompt]:
    """Keys p0, p1, .. in that order."""
    return [prompt(f"p{number}", task, trajectories) for number in range(first, first + count)]


def trajectory(*segments: tuple[int, int], reward: float | None = None) -> Trajectory:
    """Of pairs (version, tokens)."""
    return Trajectory(tuple(Segment(version, tokens) for version, tokens in segments), reward)


def finish(scheduler: Scheduler, *keys: str, tokens: int = 10) -> None:
    """Every trajectory of these groups arrives that is not there, made under the versions from start to now."""
    for key in keys or [group.key for group in running(scheduler)]:
        group = scheduler.live[key]
        assert group.started_version is not None
        made = trajectory(*((version, tokens) for version in range(group.started_version, scheduler.version + 1)))
        for member in range(group.prompt.trajectories):
            if member not in group.finished:
                assert scheduler.complete(key, member, made, group.attempt)


def running(scheduler: Scheduler) -> list[Group]:
    return [group for group in scheduler.live.values() if group.state is State.RUNNING]


def keys_of(groups: Sequence[Group]) -> list[str]:
    return [group.key for group in groups]


class Scored:
    """A term that scores each candidate by a function of its order and its task."""

    def __init__(self, score: Callable[[int, str], float]) -> None:
        self.name = "scored"
        self._score = score

    def score(self, candidates: Candidates) -> FloatColumn:
        tasks = [candidates.task_names[task] for task in candidates.tasks.tolist()]
        scores = [self._score(order, task) for order, task in zip(candidates.orders.tolist(), tasks, strict=True)]
        return np.array(scores, dtype=np.float64)


def by_score(score: Callable[[int, str], float]) -> Priority:
    return Priority((Scored(score),), {"scored": 1.0})


def youngest_first() -> Priority:
    return by_score(lambda order, task: float(order))


def against_maths() -> Priority:
    """The task of the smallest bound comes last, and of each task the youngest first."""
    return by_score(lambda order, task: order / 1e6 - 10.0 * (task == "maths"))


def scattered() -> Priority:
    return by_score(lambda order, task: order * 7919 % 31 / 31.0)


PRIORITIES: dict[str, Callable[[], Priority | None]] = {
    "first come": lambda: None,
    "youngest first": youngest_first,
    "against maths": against_maths,
    "scattered": scattered,
}

policies: st.SearchStrategy[StalenessPolicy] = st.one_of(
    st.just(Wait()),
    st.builds(Drop, most_evictions=st.integers(0, 2)),
    st.builds(Mask, least_fresh_share=st.sampled_from([0.0, 0.2, 0.6, 1.0]), most_evictions=st.integers(0, 2)),
)


@st.composite
def made_settings(draw: st.DrawFn) -> SchedulerSettings:
    """Small ones, where everything is tight."""
    batch_groups = draw(st.integers(1, 3))
    bounds = draw(st.dictionaries(st.sampled_from(TASKS), st.integers(0, 3), max_size=2))
    return SchedulerSettings(
        batch_groups=batch_groups,
        bound_versions=draw(st.integers(0, 3)),
        steps_per_version=draw(st.integers(1, 2)),
        task_bounds=bounds,
        window_groups=draw(st.none() | st.integers(batch_groups, 4 * batch_groups)),
        lookahead_groups=draw(st.none() | st.integers(1, 6)),
        overtaking_groups=draw(st.none() | st.integers(1, 6)),
        wave_groups=draw(st.none() | st.integers(batch_groups, 3 * batch_groups)),
    )
