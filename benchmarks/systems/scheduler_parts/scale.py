"""How long the simulator itself takes: a million trajectories on 1,024 devices, each policy on one core.

The only part that reads a clock: CPU seconds of the process that simulates, so that neighbours count for little.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pangu_verl.scheduler.policies import Mask, Wait
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.cluster import Cluster
from pangu_verl.simulate.scenario import Scenario
from pangu_verl.simulate.scheduled import run_scheduled
from pangu_verl.simulate.traces import LogNormalTrace
from pangu_verl.types import StalenessPolicy

from . import Scale
from .running import run_all
from .targets import Target

CLUSTER = Cluster(
    devices=1024,
    slots_per_device=16,
    devices_per_replica=4,
    decode_tokens_per_s=((1, 90.0), (16, 60.0), (64, 30.0)),
    train_tokens_per_s=800.0,
    prefill_tokens_per_s=40_000.0,
    publication_s=5.0,
    mean_time_between_failures_s=200_000.0,
    restart_s=300.0,
)
BATCH_GROUPS = 1024
TRAJECTORIES = 16
BOUND_VERSIONS = 2
QUESTION_TOKENS = 200
POLICIES: tuple[StalenessPolicy, ...] = (Mask(), Wait())
MOST_S = 300.0


@dataclass(frozen=True, slots=True)
class _ScaleRun:
    policy: StalenessPolicy
    seed: int
    steps: int

    def __call__(self) -> dict[str, Any]:
        trace = LogNormalTrace(
            name="mid",
            total_sigma=1.0,
            seed=self.seed,
            num_prompts=self.steps * BATCH_GROUPS,
            trajectories=TRAJECTORIES,
            question_tokens=QUESTION_TOKENS,
        )
        scenario = Scenario(trace=trace, cluster=CLUSTER, steps=self.steps, batch_groups=BATCH_GROUPS, seed=self.seed)
        settings = SchedulerSettings(batch_groups=BATCH_GROUPS, bound_versions=BOUND_VERSIONS)
        started_s, started_cpu_s = time.monotonic(), time.process_time()
        outcome = run_scheduled(scenario, settings, self.policy).outcome
        return {
            "policy": self.policy.name,
            "trained_trajectories": self.steps * BATCH_GROUPS * TRAJECTORIES,
            "cpu_s": time.process_time() - started_cpu_s,
            "elapsed_s": time.monotonic() - started_s,
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "fresh_token_share": outcome.fresh_token_share,
            "trained_length_ratio": outcome.trained_length_ratio,
            "restarted_groups": outcome.restarted_groups,
            "violations": outcome.violations,
        }


def measure(scale: Scale) -> dict[str, Any]:
    steps = -(-scale.trajectories // (BATCH_GROUPS * TRAJECTORIES))
    runs = [_ScaleRun(policy, scale.seeds[0], steps) for policy in POLICIES]
    return {
        "settings": {
            "cluster": CLUSTER.model_dump(mode="json"),
            "trace": "mid",
            "seed": scale.seeds[0],
            "steps": steps,
            "batch_groups": BATCH_GROUPS,
            "trajectories": TRAJECTORIES,
            "bound_versions": BOUND_VERSIONS,
            "question_tokens": QUESTION_TOKENS,
            "policies": [str(policy) for policy in POLICIES],
        },
        "runs": run_all(runs, scale.processes),
    }


def targets(figures: Mapping[str, Any]) -> list[Target]:
    return [_target(run) for run in figures["runs"]]


def _target(run: Mapping[str, Any]) -> Target:
    name = f"CPU s for {run['trained_trajectories']:,} trajectories, {run['policy']}"
    return Target(name, f"<= {MOST_S:g}", run["cpu_s"], run["cpu_s"] <= MOST_S)


def table(figures: Mapping[str, Any]) -> list[list[object]]:
    rows = [list(run.values()) for run in figures["runs"]]
    return [[name.replace("_", " ") for name in figures["runs"][0]], *rows]
