"""The played cluster of a size: what a paced run is told, and the same for the simulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pangu_verl_paced.pacing import Lengths, Pacing

from pangu_verl.simulate.cluster import Cluster
from pangu_verl.simulate.scenario import Scenario

from . import MEAN_TOKENS, PUBLICATION_SHARE, TRACE, TRAIN_TO_ROLLOUT_RATIO, TRAJECTORIES, Size

#: Recorded by ``python -m pangu_verl_paced.recording``.
RATES = Path(__file__).with_name("rates.json")


def recorded_rates() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RATES.read_text())
    return found


def cluster_of(size: Size) -> Cluster:
    """Devices of one replica each; rates as recorded, for as many requests as there are slots."""
    curve = tuple((int(requests), float(rate)) for requests, rate in recorded_rates()["tokens_per_s"])
    fields: dict[str, Any] = {
        "devices": size.replicas,
        "slots_per_device": size.slots_per_replica,
        "decode_tokens_per_s": curve,
        "train_tokens_per_s": 1.0,
    }
    full_rate = Cluster(**fields).decode_rates()[-1]
    fields["train_tokens_per_s"] = full_rate * size.slots_per_replica / TRAIN_TO_ROLLOUT_RATIO
    cluster = Cluster(**fields)
    return cluster.model_copy(update={"publication_s": PUBLICATION_SHARE * ceiling_s(size, cluster)})


def ceiling_s(size: Size, cluster: Cluster) -> float:
    """W + T of a step, in seconds of the played cluster."""
    workload = scenario_of(size, cluster, seed=0, steps=1).workload
    return workload.rollout_s(cluster) + workload.train_s(cluster)


def scenario_of(size: Size, cluster: Cluster, *, seed: int, steps: int) -> Scenario:
    """For the simulator."""
    lengths = Lengths(trace=TRACE, mean_tokens=MEAN_TOKENS, seed=seed)
    told = Pacing(cluster=cluster, lengths=lengths, trainer_devices=1, time_scale=1, rates_from="a simulation")
    return Scenario(
        trace=told.trace(TRAJECTORIES, num_prompts=steps * size.batch_groups),
        cluster=cluster,
        steps=steps,
        batch_groups=size.batch_groups,
    )


def pacing_of(size: Size, *, takes_turns: bool, seed: int, ceiling_step_s: float, journal: Path) -> Pacing:
    """For a paced run."""
    cluster = cluster_of(size)
    return Pacing(
        cluster=cluster,
        lengths=Lengths(trace=TRACE, mean_tokens=MEAN_TOKENS, seed=seed),
        trainer_devices=size.replicas if takes_turns else size.replicas - rollout_replicas(size),
        time_scale=ceiling_s(size, cluster) / ceiling_step_s,
        rates_from=recorded_rates()["from"],
        journal=journal,
    )


def rollout_replicas(size: Size) -> int:
    """Where servers have devices of their own: the nearest to f = W / (W + T)."""
    cluster = cluster_of(size)
    scenario = scenario_of(size, cluster, seed=0, steps=1)
    return cluster.split(scenario.workload.best_rollout_share(cluster)).replicas
