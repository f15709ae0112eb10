"""Which split, bound, window and policy suit a cluster and a trace: a search by short runs, settled by full ones.

Invariant: the same order gets the same advice, whether in one go or resumed. The advice is the best of what was tried:
the most fresh tokens with enough trained length, at the smallest bound that is within 1% of it. What it rests on is in
``trials`` and ``search``, what it says in words in ``advice``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, stdev
from typing import Any

from pangu_verl.errors import WrongUse
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.cluster import Cluster
from pangu_verl.simulate.order import Order
from pangu_verl.simulate.scenario import Scenario
from pangu_verl.simulate.search import MOST_BOUND_VERSIONS, Found, Search, Space, replica_choices, standing, worthwhile
from pangu_verl.simulate.trial_pool import OnProgress, OnResult, TrialPool
from pangu_verl.simulate.trials import Bench, Measures, Setting, Trial, share_of

#: A short run and the part of it that is not measured; finalists' seeds (project defaults).
SHORT_STEPS, SKIPPED_STEPS = 60, 16
LEAST_SEEDS = 3
#: By how much the trained length of a short run of one seed may differ from the mean of full ones.
_LENGTH_DOUBT = 0.02
_MOST_FINALISTS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Finalist:
    """A setting with the means of its full runs, and their standard error of the fresh-token share."""

    setting: Setting
    measures: Measures
    standard_error: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """``chosen`` is one of ``finalists``; ``is_reached`` says whether it trains on enough length.

    ``tried`` are the short runs, ``frontier`` those that none of them beats in fresh tokens and trained length both,
    ``best_by_policy`` the best of each policy under each bound. ``one_more_version`` is the best finalist at the next
    bound (None: not tried). ``replica_gain`` is the rise of trained tokens/s with one more replica, ``replica_error``
    its standard error. ``least_bound_for_full_speed`` is L / (W + T), unrounded, L the time of the longest response.
    """

    order: Order
    cluster: Cluster
    least_length_ratio: float
    is_reached: bool
    chosen: Finalist
    finalists: tuple[Finalist, ...]
    one_more_version: Finalist | None
    replica_gain: float
    replica_error: float
    least_bound_for_full_speed: float
    tried: Mapping[Setting, Measures]
    frontier: tuple[Setting, ...]
    best_by_policy: tuple[Setting, ...]

    @property
    def num_seeds(self) -> int:
        """Full runs of each finalist."""
        return _num_seeds(self.order)

    def to_json(self) -> dict[str, Any]:
        """The record as plain objects, for ``json.dumps``."""
        return {
            "trace": self.order.trace,
            "train_to_rollout_ratio": self.order.train_to_rollout_ratio if self.order.cluster is None else None,
            "steps": self.order.steps,
            "seeds": self.num_seeds,
            "batch_groups": self.order.batch_groups,
            "trajectories": self.order.trajectories,
            "cluster": self.cluster.model_dump(mode="json"),
            "least_length_ratio": self.least_length_ratio,
            "is_reached": self.is_reached,
            **self._finalist(self.chosen),
            "finalists": [self._finalist(finalist) for finalist in self.finalists],
            "one_more_version": self.one_more_version and self._finalist(self.one_more_version),
            "replica_gain": self.replica_gain,
            "replica_error": self.replica_error,
            "least_bound_for_full_speed": self.least_bound_for_full_speed,
            "num_short_runs": len(self.tried),
            "frontier": [self._tried(setting) for setting in self.frontier],
            "best_by_policy": [self._tried(setting) for setting in self.best_by_policy],
        }

    def _finalist(self, finalist: Finalist) -> dict[str, Any]:
        return {
            **self._described(finalist.setting),
            **finalist.measures.to_json(),
            "standard_error": finalist.standard_error,
        }

    def _tried(self, setting: Setting) -> dict[str, Any]:
        return {**self._described(setting), **self.tried[setting].to_json()}

    def _described(self, setting: Setting) -> dict[str, Any]:
        cluster = self.cluster
        return {
            "policy": setting.variant.policy,
            "options": dict(setting.variant.options),
            "staleness_bound": setting.bound_versions,
            "window_groups": setting.window_groups,
            "replicas": setting.replicas,
            "rollout_share": share_of(cluster, setting.replicas),
            "trainer_devices": cluster.devices - setting.replicas * cluster.devices_per_replica,
        }


def recommend(
    order: Order,
    least_length_ratio: float,
    *,
    done: Iterable[Mapping[str, Any]] = (),
    on_result: OnResult | None = None,
    on_progress: OnProgress | None = None,
    processes: int | None = None,
) -> Recommendation:
    """Advice for the order's cluster, trace, batch and priority; a split or window that it names is kept.

    Its policy, options, bound, controller and drift are not read: they are what is looked for, or nothing of it.

    ``done`` are results of an earlier call for the same order, as ``on_result`` had them. ``processes`` None: one for
    each core that this process may use. Raises ``WrongUse`` for what cannot be simulated.
    """
    check_order(order, least_length_ratio)
    processes = _num_cores() if processes is None else processes
    with TrialPool(order, processes=processes, done=done, on_result=on_result, on_progress=on_progress) as pool:
        return _Advisor(order, least_length_ratio, pool).advise()


def check_order(order: Order, least_length_ratio: float) -> None:
    """Raises ``WrongUse`` for what cannot be simulated, before anything is."""
    if not 0.0 < least_length_ratio <= 1.0:
        raise WrongUse(f"--least-length-ratio lies in 0..1, above 0, not {least_length_ratio}")
    bench = Bench(order)
    bench.variants()
    bench.scenario(order.first_seed).plan()
    SchedulerSettings(
        batch_groups=order.batch_groups,
        bound_versions=1,
        window_groups=order.window_groups,
        wave_groups=order.wave_groups,
    )


class _Advisor:
    """From an order to advice, stage by stage."""

    def __init__(self, order: Order, least_length_ratio: float, pool: TrialPool) -> None:
        self._order = order
        self._least_length_ratio = least_length_ratio
        self._pool = pool
        self._scenario = pool.bench.scenario(order.first_seed)
        self._seeds = range(order.first_seed, order.first_seed + _num_seeds(order))
        self._finalists: dict[Setting, Finalist] = {}
        self._search = Search(self._space(), least_length_ratio, self._measure_shortly)

    def advise(self) -> Recommendation:
        bound = self._search.run()
        self._play_fully(
            [setting for near in (bound - 1, bound, bound + 1) for setting in self._shortlist(near, bound)]
        )
        # Full runs may say otherwise than short ones, and the bound above the chosen one is always played.
        while (above := self._chosen().setting.bound_versions + 1) not in self._best() and above <= MOST_BOUND_VERSIONS:
            self._search.look_at(above)
            self._play_fully(self._shortlist(above, above))
        chosen, best, finalists = self._chosen(), self._best(), tuple(self._finalists.values())
        gain, error = self._replica_gain(chosen.setting)
        found = self._search.found
        return Recommendation(
            order=self._order,
            cluster=self._scenario.cluster,
            least_length_ratio=self._least_length_ratio,
            is_reached=chosen.measures.trained_length_ratio >= self._least_length_ratio,
            chosen=chosen,
            finalists=tuple(sorted(finalists, key=lambda finalist: finalist.setting[1:])),
            one_more_version=best.get(chosen.setting.bound_versions + 1),
            replica_gain=gain,
            replica_error=error,
            least_bound_for_full_speed=_least_bound(
                self._scenario, max(finalist.measures.longest_tokens for finalist in finalists)
            ),
            tried=found,
            frontier=frontier(found),
            best_by_policy=tuple(
                setting
                for tried_bound in self._search.bounds
                for setting in self._search.best_by_policy(tried_bound).values()
            ),
        )

    def _space(self) -> Space:
        cluster, order = self._scenario.cluster, self._order
        share = order.rollout_share or self._scenario.workload.best_rollout_share(cluster)
        best, most = cluster.split(share).replicas, cluster.split(1.0).replicas
        return Space(
            variants=self._pool.bench.variants(),
            batch_groups=order.batch_groups,
            replicas=(best,) if order.rollout_share is not None else replica_choices(best, most),
            best_replicas=best,
            window_groups=order.window_groups,
        )

    def _measure_shortly(self, settings: Sequence[Setting]) -> Found:
        steps = min(SHORT_STEPS, self._order.steps)
        skipped = min(SKIPPED_STEPS, steps // 4)
        trials = {Trial(setting, self._order.first_seed, steps, skipped): setting for setting in settings}
        bound = settings[0].bound_versions
        found = self._pool.run(f"short runs, bound {bound}", list(trials))
        return {trials[trial]: measures for trial, measures in found.items()}

    def _chosen(self) -> Finalist:
        best = self._best()
        return best[worthwhile({bound: top.measures for bound, top in best.items()}, self._least_length_ratio)]

    def _best(self) -> dict[int, Finalist]:
        """The best finalist of each bound."""
        ranked = sorted(
            self._finalists.values(), key=lambda finalist: standing(finalist.measures, self._least_length_ratio)
        )
        return {finalist.setting.bound_versions: finalist for finalist in ranked}

    def _shortlist(self, bound_versions: int, likely_bound: int) -> list[Setting]:
        """The likely best under a bound: several for the likely one, one or two beside it."""
        found = self._search.found
        tried = [setting for setting in found if setting.bound_versions == bound_versions]
        chosen: list[Setting] = []
        for doubt in (-_LENGTH_DOUBT, _LENGTH_DOUBT):
            least = self._least_length_ratio + doubt
            ranked = sorted(tried, key=lambda setting: standing(found[setting], least), reverse=True)
            chosen += ranked[: _MOST_FINALISTS if bound_versions == likely_bound else 1]
        return chosen

    def _play_fully(self, settings: Sequence[Setting]) -> None:
        trials = {setting: [Trial(setting, seed, self._order.steps) for seed in self._seeds] for setting in settings}
        found = self._pool.run("full runs", list(chain.from_iterable(trials.values())))
        for setting, of_setting in trials.items():
            measures = [found[trial] for trial in of_setting]
            self._finalists[setting] = Finalist(
                setting=setting,
                measures=Measures.mean(measures),
                standard_error=_standard_error([run.fresh_token_share for run in measures]),
            )

    def _replica_gain(self, setting: Setting) -> tuple[float, float]:
        """How much one more replica adds to the trained tokens/s, seed by seed: mean and standard error."""
        plain = [Trial(setting, seed, self._order.steps) for seed in self._seeds]
        larger = [trial._replace(added_replicas=1) for trial in plain]
        found = self._pool.run("one more replica", [*plain, *larger])
        gains = [
            found[after].trained_tokens_per_s / found[before].trained_tokens_per_s - 1
            for before, after in zip(plain, larger, strict=True)
        ]
        return fmean(gains), _standard_error(gains)


def frontier(found: Mapping[Setting, Measures]) -> tuple[Setting, ...]:
    """Settings that no other beats in fresh-token share and trained-length ratio both, by rising length ratio."""
    chosen: list[Setting] = []
    for setting in sorted(
        found, key=lambda tried: (found[tried].trained_length_ratio, found[tried].fresh_token_share), reverse=True
    ):
        if not chosen or found[setting].fresh_token_share > found[chosen[-1]].fresh_token_share:
            chosen.append(setting)
    return tuple(reversed(chosen))


def _least_bound(scenario: Scenario, longest_tokens: int) -> float:
    """Smallest bound at which no straggler slows ``wait``: from step >= (L + W + T) / (s + 1) with step = W + T."""
    workload, cluster = scenario.workload, scenario.cluster
    longest_s = longest_tokens / cluster.decode_rates()[-1]
    return longest_s / (workload.rollout_s(cluster) + workload.train_s(cluster))


def _num_cores() -> int:
    """Cores that this process may use, where the operating system says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _num_seeds(order: Order) -> int:
    return max(order.seeds, LEAST_SEEDS)


def _standard_error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values))
