"""``report.html`` of a recommendation: what to set and why, the frontier, and the table behind it.

Invariant: what ``rendering`` holds of every page. All numbers and sentences are the recommendation's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # PyYAML ships no types

from pangu_verl.report import wording
from pangu_verl.report.frontier import frontier_figure, policies_of, policy_swatch
from pangu_verl.report.page import REPORT_NAME
from pangu_verl.report.rendering import render, write_page
from pangu_verl.simulate.advice import command, headline, limits, outlook
from pangu_verl.simulate.recommend import Finalist, Recommendation


def build_recommendation(run_dir: Path, found: Recommendation, record: Mapping[str, Any]) -> Path:
    """Write the page into a run folder and return its path. ``record`` is the folder's run.json."""
    page = render(
        "recommendation.html.jinja",
        ("page.css",),
        title="What suits this cluster",
        headline=headline(found),
        key_figures=list(_key_figures(found)),
        limits=limits(found),
        outlook=outlook(found),
        settings=_settings(found),
        command=command(found),
        figure=frontier_figure(found),
        policies=list(enumerate(policies_of(found))),
        swatch=policy_swatch,
        rows=_rows(found.finalists, found),
        chosen=found.chosen,
        tried=[(setting, found.tried[setting]) for setting in found.best_by_policy],
        found=found,
        about=list(_about(found, record)),
    )
    return write_page(run_dir / REPORT_NAME, page)


def _key_figures(found: Recommendation) -> Iterator[tuple[str, str, str]]:
    measures, setting = found.chosen.measures, found.chosen.setting
    devices = setting.replicas * found.cluster.devices_per_replica
    yield (
        "fresh tokens",
        wording.percent(measures.fresh_token_share),
        f"of the ceiling, ± {100 * found.chosen.standard_error:.2f} points by seed",
    )
    yield (
        "trained length",
        wording.percent(measures.trained_length_ratio),
        f"of the natural one; at least {found.least_length_ratio:.0%} was asked for",
    )
    yield "bound", str(setting.bound_versions), "versions: no older token is trained on"
    yield "roll out", f"{devices} devices", f"{found.cluster.devices - devices} train"
    yield (
        "trainer idle",
        wording.percent(measures.trainer_idle_share),
        (f"of the time; decode slots {wording.percent(measures.rollout_idle_share)}"),
    )


def _settings(found: Recommendation) -> str:
    """Names as in ``SchedulerSettings`` and ``Cluster``."""
    setting = found.chosen.setting
    devices = setting.replicas * found.cluster.devices_per_replica
    chosen: dict[str, Any] = {
        "policy": setting.variant.policy,
        "options": dict(setting.variant.options),
        "bound_versions": setting.bound_versions,
        "batch_groups": found.order.batch_groups,
        "window_groups": setting.window_groups,
        **({"wave_groups": found.order.wave_groups} if found.order.wave_groups else {}),
        "rollout_devices": devices,
        "trainer_devices": found.cluster.devices - devices,
    }
    text: str = yaml.safe_dump({name: value for name, value in chosen.items() if value != {}}, sort_keys=False)
    return text


def _rows(finalists: tuple[Finalist, ...], found: Recommendation) -> list[tuple[Finalist, int]]:
    return [(finalist, finalist.setting.replicas * found.cluster.devices_per_replica) for finalist in finalists]


def _about(found: Recommendation, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    order, cluster = found.order, found.cluster
    yield "trace", order.trace
    yield "batch", f"{order.batch_groups} groups of {order.trajectories} trajectories"
    for name, value in cluster.model_dump(mode="json", exclude_none=True).items():
        yield name.replace("_", " "), str(value)
    yield "short runs", wording.number(len(found.tried))
    yield "full runs", f"{found.num_seeds} seeds from {order.first_seed}, {order.steps} steps each"
    yield "started", wording.moment(str(record.get("started_at") or wording.UNKNOWN))
    yield "commit", str(record.get("commit") or wording.UNKNOWN)
    machine = record.get("machine") or {}
    yield "machine", f"{machine.get('cores', wording.UNKNOWN)} cores, {machine.get('processor', wording.UNKNOWN)}"
