"""A step's metrics as Prometheus sees them: scraped from the port at which a real Ray exports its own."""

from __future__ import annotations

import re
import time
import urllib.request

import pytest
import ray

from pangu_verl.integrations.verl.scheduling.gauges import Gauges, gauge_name

METRICS = {
    "scheduler/lag_versions/mean": 1.25,
    "scheduler/trained_tokens/word problems/mean": 7.0,
    "actor/pg_loss": 3.0,
}
LONGEST_WAIT_S = 120


def test_a_metrics_name_is_one_that_prometheus_takes() -> None:
    assert gauge_name("scheduler/lag_share/0") == "pangu_scheduler_lag_share_0"
    assert gauge_name("scheduler/task_share/maths-é 2") == "pangu_scheduler_task_share_maths___2"


@pytest.mark.own_process
def test_the_last_step_is_exported_among_rays_own_metrics() -> None:
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        gauges = Gauges()
        gauges.set({**METRICS, "scheduler/lag_versions/mean": 9.0})
        gauges.set(METRICS)
        node = ray.nodes()[0]
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        assert scraped(address) == {
            "ray_pangu_scheduler_lag_versions_mean": 1.25,
            "ray_pangu_scheduler_trained_tokens_word_problems_mean": 7.0,
        }
    finally:
        ray.shutdown()


def scraped(address: str) -> dict[str, float]:
    """Our gauges, as soon as Ray has exported them: it does so every few seconds."""
    until_s = time.monotonic() + LONGEST_WAIT_S
    found: dict[str, float] = {}
    while not found and time.monotonic() < until_s:
        with urllib.request.urlopen(address, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        found = {
            line[: line.index("{")]: float(line.rpartition(" ")[2]) for line in lines if re.match(r"ray_pangu_", line)
        }
        time.sleep(0.5)
    return found
