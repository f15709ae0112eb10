"""How every part measures: CPU time with that of children, whose turn it is, medians, and a bounded number of cores."""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

import psutil

T = TypeVar("T")


class CpuMeter:
    """CPU seconds of this process and of its children, also of those that ended meanwhile.

    Of a child that runs the kernel counts in steps of 10 ms. Children are looked up again when one of them is gone:
    looking costs more than most verdicts.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.num_looks = 0
        self.look_for_children()

    def look_for_children(self) -> None:
        self._children = self._process.children(recursive=True)
        self.num_looks += 1

    def seconds(self) -> float:
        while True:
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            try:
                running = [child.cpu_times() for child in self._children]
            except psutil.NoSuchProcess:
                self.look_for_children()
                continue
            in_children = float(sum(each.user + each.system for each in running))
            return time.process_time() + ended.ru_utime + ended.ru_stime + in_children


def in_turn(graders: Sequence[T], repeat: int) -> list[T]:
    """The graders in the order of this repeat: nobody is always first."""
    first = repeat % len(graders)
    return [*graders[first:], *graders[:first]]


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Of figures taken side by side."""
    return statistics.median(our / their for our, their in zip(ours, theirs, strict=True))


@contextlib.contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Binds this process, and all that it starts from here on, to so many cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
