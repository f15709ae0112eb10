"""Runs of the simulator, side by side in processes, on traces that each process draws once.

Invariant: what a run gives depends on the run alone, and results come in the order in which the runs were asked for.
"""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, lru_cache
from typing import TypeVar

from pangu_verl.queue.entries import Prompt
from pangu_verl.queue.priority import Priority
from pangu_verl.queue.waves import in_wave, rises
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.cluster import Cluster, design_cluster
from pangu_verl.simulate.traces import Responses, Trace
from pangu_verl.types import StalenessPolicy

from . import SLOTS

Result = TypeVar("Result")

_REPORTED_RUNS = 50


def run_all(runs: Sequence[Callable[[], Result]], processes: int) -> list[Result]:
    """What each of ``runs`` returns. Those of one trace should stand together, as a process keeps few traces."""
    results = []
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork")) as pool:
        for done, result in enumerate(pool.map(_run, runs), start=1):
            results.append(result)
            if done % _REPORTED_RUNS == 0 or done == len(runs):
                print(f"{done} of {len(runs)} runs", file=sys.stderr, flush=True)
    return results


def _run(run: Callable[[], Result]) -> Result:
    # A run makes millions of records that live until they are used: looking for cycles among them costs a fifth of it.
    gc.disable()
    try:
        return run()
    finally:
        gc.enable()
        gc.collect()


class DrawnTrace:
    """A trace whose prompts and responses are drawn once, however many runs ask for them."""

    def __init__(self, trace: Trace) -> None:
        self.name = trace.name
        self.trajectories = trace.trajectories
        self.mean_tokens = trace.mean_tokens
        self.task_means = trace.task_means
        self.prompt = cache(trace.prompt)
        self.prompt_tokens = trace.prompt_tokens
        self.responses = cache(trace.responses)


class WavedTrace:
    """A trace in the waves that our scheduler makes of it, for those who take prompts as they come."""

    def __init__(self, trace: Trace, wave_groups: int) -> None:
        self.name = trace.name
        self.trajectories = trace.trajectories
        self.mean_tokens = trace.mean_tokens
        self.task_means = trace.task_means
        self._trace = trace
        self._wave_groups = wave_groups
        self._rows: list[int] = []

    def prompt(self, index: int) -> Prompt:
        return replace(self._trace.prompt(self._row(index)), key=f"p{index}", row=index)

    def prompt_tokens(self, index: int) -> int:
        return self._trace.prompt_tokens(self._row(index))

    def responses(self, index: int, attempt: int) -> Responses:
        return self._trace.responses(self._row(index), attempt)

    def _row(self, index: int) -> int:
        while index >= (first := len(self._rows)):
            prompts = [self._trace.prompt(first + place) for place in range(self._wave_groups)]
            wave = in_wave(prompts, rises=rises(first, self._wave_groups))
            self._rows += [int(prompt.key.removeprefix("p")) for prompt in wave]
        return self._rows[index]


#: The traces that a process used last.
drawn = lru_cache(maxsize=2)(DrawnTrace)


def cluster_of(train_to_rollout_ratio: float) -> Cluster:
    """The design's cluster with all that rolls out as one replica.

    Its replicas have one slot each and a level decode rate, so they differ in nothing; one for all is the same cluster
    and is simulated in two thirds of the time. Not for plans that take turns, which split the devices in another way.
    """
    cluster = design_cluster(train_to_rollout_ratio, slots=SLOTS)
    return cluster.model_copy(update={"devices_per_replica": round(SLOTS / (1 + train_to_rollout_ratio))})


class WatchedScheduler(Scheduler):
    """A scheduler that shows each batch to ``watch``."""

    def __init__(
        self,
        settings: SchedulerSettings,
        policy: StalenessPolicy,
        priority: Priority | None,
        watch: Callable[[Batch], None],
    ) -> None:
        super().__init__(settings, policy, priority)
        self._watch = watch

    def take(self) -> Batch | None:
        batch = super().take()
        if batch is not None:
            self._watch(batch)
        return batch
