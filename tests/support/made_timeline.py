"""A timeline as an asynchronous run would write it, made up: log-normal lengths, drawn from a seed."""

from __future__ import annotations

import heapq
from pathlib import Path

import numpy as np

from pangu_verl.scheduler.timeline import TimelineWriter


def write_timeline(
    path: Path,
    *,
    replicas: int = 2,
    slots: int = 3,
    steps: int = 12,
    first_step: int = 1,
    at_s: float = 1.7e9,
    step_s: float = 4.0,
    publication_s: float = 0.4,
    length_s: float = 3.0,
    slowest: float = 1.0,
    seed: int = 0,
) -> float:
    """One session, appended; returns when it ended. A publication stops all requests, and they go on after it.

    The trainer waits 0.3 s for each batch, longer at every fourth step. ``slowest`` is the share of time that the last
    replica's slots are used.
    """
    draw = np.random.default_rng(seed)
    with TimelineWriter(path) as timeline:
        timeline.run(at_s=at_s, mode="pangu_ssp", policy="mask", bound_versions=2, slots_per_replica=slots)
        free = [(at_s, replica, slot, 0.0) for replica in range(replicas) for slot in range(slots)]
        now_s = at_s + 2.0
        for step in range(first_step, first_step + steps):
            waits_s = 2.5 if step % 4 == 0 else 0.3
            began_s, ended_s = now_s + waits_s, now_s + waits_s + step_s
            ends = []
            while free:
                from_s, replica, slot, left_s = heapq.heappop(free)
                if from_s >= ended_s:
                    ends.append((from_s, replica, slot, left_s))
                    continue
                left_s = left_s or length_s * float(draw.lognormal(-0.5, 1.0))
                to_s = min(from_s + left_s, ended_s)
                version = step - 1 if to_s - from_s > 0.02 else None
                tokens = int(40 * (to_s - from_s)) if version is not None else 0
                timeline.attempt(f"rollout_{replica}", version, tokens, from_s, to_s)
                is_cut, rest_s = to_s == ended_s, left_s - (to_s - from_s)
                pause_s = 0.0 if replica < replicas - 1 or is_cut else left_s * (1 / slowest - 1)
                heapq.heappush(free, (to_s + pause_s, replica, slot, rest_s if is_cut else 0.0))
            timeline.step(step, step - 1, waited_from_s=now_s, began_s=began_s, ended_s=ended_s)
            now_s = ended_s + publication_s
            timeline.publication(step, ended_s, now_s)
            free = [(max(from_s, now_s), replica, slot, left_s) for from_s, replica, slot, left_s in ends]
            heapq.heapify(free)
    return now_s
