"""The groups and trajectories that are measured with, and how a time is taken."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pangu_verl.queue.entries import Group, Prompt, Segment, Trajectory
from pangu_verl.queue.ledger_completion import Completion

from . import SEED

T = TypeVar("T")

RUN = "benchmark"
LEASE_S = 600.0
#: Responses to a prompt, as in the shared traces.
MEMBERS = 8


def made_groups(count: int) -> list[Group]:
    generator = random.Random(SEED)
    return [
        Group(
            Prompt(
                key=f"{generator.getrandbits(64):016x}",
                task=generator.choice(["maths", "code", "general"]),
                trajectories=MEMBERS,
                row=number,
                expected_tokens=generator.lognormvariate(7.0, 1.0),
                pass_rate=generator.random(),
            ),
            order=number,
            admitted_version=0,
        )
        for number in range(count)
    ]


def made_trajectory(generator: random.Random) -> Trajectory:
    """Begun under one version and finished under the next."""
    return Trajectory((Segment(0, generator.randrange(1, 4096)), Segment(1, generator.randrange(1, 4096))), 1.0)


def completions(groups: Sequence[Group], num_members: int = MEMBERS) -> list[Completion]:
    generator = random.Random(SEED)
    return [
        Completion(group.key, member, made_trajectory(generator), group.attempt)
        for group in groups
        for member in range(num_members)
    ]


def in_batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def milliseconds_table(heading: str, figures: Mapping[str, Mapping[str, Any]]) -> list[list[object]]:
    rows = [
        [name, *(1000 * found[each] for each in ("median", "lowest", "highest"))] for name, found in figures.items()
    ]
    return [[heading, "median ms", "lowest", "highest"], *rows]
