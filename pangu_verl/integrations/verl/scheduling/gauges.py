"""A step's ``scheduler/*`` metrics as gauges among Ray's own metrics, for Prometheus.

Invariant: Ray exports them where it exports its own; nothing is served here. A gauge keeps its last value, so a metric
that a step does not have (a lag that no token has) stays what it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Gauge

_PREFIX = "scheduler/"


class Gauges:
    """Of the process that trains: one for each metric, made when it is first seen."""

    def __init__(self) -> None:
        self._by_name: dict[str, Gauge] = {}

    def set(self, metrics: Mapping[str, Any]) -> None:
        """Those of a step; what does not begin with ``scheduler/`` is left to verl's loggers."""
        for metric, value in metrics.items():
            if metric.startswith(_PREFIX):
                name = gauge_name(metric)
                if name not in self._by_name:
                    self._by_name[name] = Gauge(name, description=f"{metric} of the last training step")
                self._by_name[name].set(float(value))


def gauge_name(metric: str) -> str:
    """As Prometheus takes names: letters of ASCII, digits and underscores."""
    return "pangu_" + re.sub(r"[^a-zA-Z0-9]", "_", metric)
