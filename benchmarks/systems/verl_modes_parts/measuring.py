"""Figures of a run, as the design defines them: from the journal of a paced run, and from the steps of a simulation.

Both go through the same arithmetic. Invariant: natural lengths and speeds come from the scenario, what was trained on
from the rows that the trainer was given; a step is counted from the end of the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from pangu_verl_paced.journal import TrainedBatch
from pangu_verl_paced.processors import MOST_SHARE, share

from pangu_verl.errors import RunFailed
from pangu_verl.simulate.scenario import Scenario
from pangu_verl.simulate.tally import StepFacts


@dataclass(frozen=True, slots=True)
class Step:
    """``ended_s`` is in seconds of the played cluster."""

    ended_s: float
    trajectories: int
    trained_tokens: int


def measured(steps: Sequence[Step], first_steps: int, scenario: Scenario) -> dict[str, float]:
    """Of the steps after the first ``first_steps``."""
    kept = steps[first_steps:]
    mean_step_s = (kept[-1].ended_s - steps[first_steps - 1].ended_s) / len(kept)
    workload = scenario.workload
    ceiling_s = workload.rollout_s(scenario.cluster) + workload.train_s(scenario.cluster)
    trained = sum(step.trained_tokens for step in kept)
    ceiling_share = ceiling_s / mean_step_s
    return {
        "step_s": mean_step_s,
        "ceiling_share": ceiling_share,
        "fresh_token_share": ceiling_share * trained / (workload.tokens * len(kept)),
        "trained_length_ratio": trained / sum(step.trajectories for step in kept) / workload.mean_tokens,
    }


def of_run(
    batches: Sequence[TrainedBatch], first_steps: int, steps: int, scenario: Scenario, time_scale: float
) -> dict[str, Any]:
    """Of a paced run. Step times are those of the wall; a run that took too much of the machine is discarded."""
    if len(batches) != steps:
        raise RunFailed(f"the run was to train {steps} steps and trained {len(batches)}; look at its log")
    found: dict[str, Any] = measured(
        [Step(batch.ended_s * time_scale, batch.trajectories, batch.trained_tokens) for batch in batches],
        first_steps,
        scenario,
    )
    begun, ended = batches[first_steps - 1], batches[-1]
    processor_share = share(ended.processor_s - begun.processor_s, ended.ended_s - begun.ended_s)
    return found | {
        "step_s": found["step_s"] / time_scale,
        "max_trained_lag": max(
            (step - version for step, batch in enumerate(batches) for version in batch.trained_tokens_by_version),
            default=0,
        ),
        "processor_share": processor_share,
        "machine_load": psutil.getloadavg()[0],
        "is_discarded": processor_share > MOST_SHARE,
    }


def of_simulation(steps: Sequence[StepFacts], first_steps: int, scenario: Scenario) -> dict[str, float]:
    return measured(
        [
            Step(
                facts.begin_s + facts.train_s, scenario.batch_groups * scenario.trace.trajectories, facts.trained_tokens
            )
            for facts in steps
        ],
        first_steps,
        scenario,
    )
