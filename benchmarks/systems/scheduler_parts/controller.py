"""The adaptive controller against every fixed bound, under ``mask``, where stale tokens are worth less.

What counts is ``effective_token_share``: the fresh-token share with each step's tokens counted by their effective
sample share, under the drift model of ``pangu_verl.simulate.drift``. Where the policy moves at one speed, the
controller is to come within 3% of the best fixed bound, which nobody knows beforehand; where it settles, or moves in
the middle of the run, it is to beat the best fixed bound. Lengths that grow or jump are asked for the former: all
times grow with them, lags in versions do not, so the best bound stays what it was. The worse of two starts counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.controllers import Adaptive
from pangu_verl.scheduler.metrics import trained_tokens_by_lag
from pangu_verl.scheduler.policies import Mask
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.drift import Drift, effective_sample_share
from pangu_verl.simulate.scenario import Scenario, simulate
from pangu_verl.simulate.scheduled import run_scheduled
from pangu_verl.simulate.traces import DRIFT, JUMP, STATIONARY, Levels, named_trace

from . import BATCH_GROUPS, TRAJECTORIES, Scale
from .running import WatchedScheduler, cluster_of, drawn, run_all
from .spreads import spread
from .targets import Target

FIXED_BOUNDS_VERSIONS = tuple(range(1, 9))
STARTS_VERSIONS = (2, 4)
WINDOW_GROUPS = 160
TRAIN_TO_ROLLOUT_RATIO = 0.5
POLICY = Mask()
LEAST_OF_BEST = 0.97

SETTLES = Drift(((0.0, 0.6), (0.3, 0.6), (0.4, 0.1)))
MOVES_IN_THE_MIDDLE = Drift(((0.3, 0.1), (0.4, 0.5), (0.6, 0.5), (0.7, 0.1)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """How the policy and its lengths move over a run."""

    name: str
    trace: str
    drift: Drift
    levels: Levels = STATIONARY
    drift_changes: bool = False


def courses() -> list[Course]:
    found = []
    for trace in ("mild", "mid", "heavy"):
        found += [
            Course(name=f"{trace}, drift {drift:g}", trace=trace, drift=Drift(((0.0, drift),)))
            for drift in (0.1, 0.2, 0.3)
        ]
        found += [
            Course(name=f"{trace}, policy settles", trace=trace, drift=SETTLES, drift_changes=True),
            Course(
                name=f"{trace}, policy moves in the middle", trace=trace, drift=MOVES_IN_THE_MIDDLE, drift_changes=True
            ),
        ]
    for trace in ("mid", "heavy"):
        found += [
            Course(name=f"{trace}, lengths triple slowly", trace=trace, drift=Drift(((0.0, 0.2),)), levels=DRIFT),
            Course(name=f"{trace}, lengths triple at once", trace=trace, drift=Drift(((0.0, 0.2),)), levels=JUMP),
        ]
    return found


def _scenario(trace: str, levels: Levels, seed: int, steps: int) -> Scenario:
    drawn_from = replace(
        named_trace(trace, seed=seed, num_prompts=steps * BATCH_GROUPS, trajectories=TRAJECTORIES), levels=levels
    )
    cluster = cluster_of(TRAIN_TO_ROLLOUT_RATIO)
    return Scenario(trace=drawn(drawn_from), cluster=cluster, steps=steps, batch_groups=BATCH_GROUPS)


def _settings(bound_versions: int) -> SchedulerSettings:
    return SchedulerSettings(batch_groups=BATCH_GROUPS, bound_versions=bound_versions, window_groups=WINDOW_GROUPS)


@dataclass(frozen=True, slots=True)
class _FixedRun:
    """Without a controller the drift changes nothing but what tokens are worth, so one run serves all drifts."""

    trace: str
    levels: Levels
    bound_versions: int
    seed: int
    steps: int

    def __call__(self) -> dict[Drift, float]:
        lags: list[Mapping[int, int]] = []

        def watch(batch: Batch) -> None:
            lags.append(trained_tokens_by_lag(batch))

        scheduler = WatchedScheduler(_settings(self.bound_versions), POLICY, None, watch)
        plan = _scenario(self.trace, self.levels, self.seed, self.steps).plan()
        outcome = simulate(plan, scheduler, policy=POLICY.name, bound_versions=self.bound_versions)
        drifts = {course.drift for course in courses()}
        return {drift: outcome.fresh_token_share * _effective_share(lags, drift, self.steps) for drift in drifts}


def _effective_share(lags: Sequence[Mapping[int, int]], drift: Drift, steps: int) -> float:
    """Effective samples as a share of all trained tokens."""
    trained = [sum(tokens.values()) for tokens in lags]
    effective = [
        tokens * effective_sample_share(by_lag, drift.at(step / steps))
        for step, (tokens, by_lag) in enumerate(zip(trained, lags, strict=True))
    ]
    return sum(effective) / max(sum(trained), 1)


@dataclass(frozen=True, slots=True)
class _AdaptiveRun:
    course: Course
    start_versions: int
    seed: int
    steps: int

    def __call__(self) -> tuple[float, list[int]]:
        """The effective share, and the bound of each step."""
        run = run_scheduled(
            _scenario(self.course.trace, self.course.levels, self.seed, self.steps),
            _settings(self.start_versions),
            POLICY,
            controller=Adaptive(),
            drift=self.course.drift,
        )
        return run.effective_token_share, [decision.bound_versions for decision in run.decisions]


def measure(scale: Scale) -> dict[str, Any]:
    traces = list(dict.fromkeys((course.trace, course.levels) for course in courses()))
    fixed_runs = [
        _FixedRun(*trace, bound, seed, scale.steps)
        for seed in scale.seeds
        for trace in traces
        for bound in FIXED_BOUNDS_VERSIONS
    ]
    fixed = dict(zip(fixed_runs, run_all(fixed_runs, scale.processes), strict=True))
    adaptive_runs = [
        _AdaptiveRun(course, start, seed, scale.steps)
        for seed in scale.seeds
        for course in courses()
        for start in STARTS_VERSIONS
    ]
    adaptive = dict(zip(adaptive_runs, run_all(adaptive_runs, scale.processes), strict=True))
    return {
        "settings": {
            "seeds": list(scale.seeds),
            "steps": scale.steps,
            "batch_groups": BATCH_GROUPS,
            "trajectories": TRAJECTORIES,
            "window_groups": WINDOW_GROUPS,
            "train_to_rollout_ratio": TRAIN_TO_ROLLOUT_RATIO,
            "policy": str(POLICY),
            "controller": str(Adaptive()),
            "starts_versions": list(STARTS_VERSIONS),
            "figures": "mean, lowest and highest over the seeds",
        },
        "courses": [_figures(course, fixed, adaptive, scale) for course in courses()],
    }


def _figures(
    course: Course,
    fixed: Mapping[_FixedRun, Mapping[Drift, float]],
    adaptive: Mapping[_AdaptiveRun, tuple[float, list[int]]],
    scale: Scale,
) -> dict[str, Any]:
    by_bound = {
        bound: spread(
            [
                fixed[_FixedRun(course.trace, course.levels, bound, seed, scale.steps)][course.drift]
                for seed in scale.seeds
            ]
        )
        for bound in FIXED_BOUNDS_VERSIONS
    }
    starts: dict[int, dict[str, Any]] = {}
    for start in STARTS_VERSIONS:
        runs = [adaptive[_AdaptiveRun(course, start, seed, scale.steps)] for seed in scale.seeds]
        starts[start] = {
            "effective_token_share": spread([share for share, _ in runs]),
            "bounds_of_first_seed": runs[0][1],
        }
    best = max(by_bound, key=lambda bound: by_bound[bound][0])
    worse = min(found["effective_token_share"][0] for found in starts.values())
    return {
        "name": course.name,
        "drift": course.drift.levels,
        "levels": course.levels,
        "drift_changes": course.drift_changes,
        "fixed": by_bound,
        "adaptive_from": starts,
        "best_fixed_bound_versions": best,
        "of_best": worse / by_bound[best][0],
        "asked": "> 1" if course.drift_changes else f">= {LEAST_OF_BEST}",
        "is_met": worse > by_bound[best][0] if course.drift_changes else worse >= LEAST_OF_BEST * by_bound[best][0],
    }


def targets(figures: Mapping[str, Any]) -> list[Target]:
    return [
        Target(
            f"controller by the best fixed bound, {course['name']}",
            course["asked"],
            course["of_best"],
            course["is_met"],
        )
        for course in figures["courses"]
    ]


def table(figures: Mapping[str, Any]) -> list[list[object]]:
    bounds = [f"s = {bound}" for bound in FIXED_BOUNDS_VERSIONS]
    rows: list[list[object]] = [["course", *bounds, *(f"from {start}" for start in STARTS_VERSIONS), "of best"]]
    rows += [
        [
            course["name"],
            *(share[0] for share in course["fixed"].values()),
            *(found["effective_token_share"][0] for found in course["adaptive_from"].values()),
            course["of_best"],
        ]
        for course in figures["courses"]
    ]
    return rows
