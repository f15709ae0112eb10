"""Where in the space of settings to look next: from a coarse grid to the neighbours of what is best so far.

Invariant: what is tried follows from the measures alone, so a search that goes on from recorded results ends where an
uninterrupted one ends. A search finds a good setting and proves none to be the best. Running is done in ``trial_pool``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pangu_verl.simulate.trials import Measures, Setting, Variant

#: Bounds tried first, and the largest one (project defaults, as all numbers here).
COARSE_BOUNDS = (1, 2, 4, 8)
MOST_BOUND_VERSIONS = COARSE_BOUNDS[-1]
#: Windows in batches, beside the widest that a bound allows.
WINDOW_BATCHES = (1.25, 1.5, 2.0, 3.0, 4.5)
#: Rollout replicas: steps away from those of f = W / (W + T).
REPLICA_STEPS = range(-6, 4)
#: Of two bounds the smaller one, unless the larger one gives more than this.
WORTH_A_VERSION = 0.01
_MOST_ROUNDS = 3

Choice = TypeVar("Choice")
Found = dict[Setting, Measures]
#: Runs what it has not run before, and returns the measures of each.
Measure = Callable[[Sequence[Setting]], Mapping[Setting, Measures]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """What there is to choose from. ``replicas`` rise; ``window_groups`` None: the ladder of each bound."""

    variants: tuple[Variant, ...]
    batch_groups: int
    replicas: tuple[int, ...]
    best_replicas: int
    window_groups: int | None = None

    def windows(self, bound_versions: int) -> list[int]:
        """Windows to choose from under a bound, in groups, rising."""
        widest = (bound_versions + 1) * self.batch_groups
        if self.window_groups is not None:
            return [min(self.window_groups, widest)]
        steps = {max(self.batch_groups, round(batches * self.batch_groups)) for batches in WINDOW_BATCHES}
        return sorted({step for step in steps if step < widest} | {widest})

    def start(self, bound_versions: int) -> list[Setting]:
        """The coarse grid: every other variant of a policy, a narrow and the widest window, the split by W and T."""
        windows = self.windows(bound_versions)
        narrow = windows[min(1, len(windows) - 1)]
        return [
            Setting(variant, bound_versions, window, self.best_replicas)
            for variants in by_policy(self.variants).values()
            for variant in variants[::2]
            for window in sorted({narrow, windows[-1]})
        ]

    def neighbours(self, setting: Setting) -> list[Setting]:
        """Settings of the same policy and bound that differ in one respect."""
        variants = by_policy(self.variants)[setting.variant.policy]
        windows = self.windows(setting.bound_versions)
        moves = [setting._replace(variant=variant) for variant in _beside(variants, setting.variant)]
        moves += [setting._replace(window_groups=window) for window in _beside(windows, setting.window_groups)]
        moves += [setting._replace(replicas=replicas) for replicas in _beside(self.replicas, setting.replicas)]
        return moves

    def moved(self, setting: Setting, bound_versions: int) -> Setting:
        """The setting under another bound: the widest window stays the widest, another one stays about as it is."""
        before, after = self.windows(setting.bound_versions), self.windows(bound_versions)
        window = after[-1]
        if setting.window_groups != before[-1]:
            window = min(after, key=lambda groups: abs(groups - setting.window_groups))
        return setting._replace(bound_versions=bound_versions, window_groups=window)


class Search:
    """What was found so far, and the steps from coarse to fine."""

    def __init__(self, space: Space, least_length_ratio: float, measure: Measure) -> None:
        self.found: Found = {}
        self._space = space
        self._least_length_ratio = least_length_ratio
        self._measure = measure

    def run(self) -> int:
        """Look through all bounds; returns the one that is worth its staleness."""
        for bound in COARSE_BOUNDS:
            self._look(bound, self._space.start(bound))
        bound = self.worthwhile_bound()
        below = max((coarse for coarse in COARSE_BOUNDS if coarse < bound), default=bound)
        for between in range(below + 1, bound):
            self.look_at(between)
        bound = self.worthwhile_bound()
        if bound < MOST_BOUND_VERSIONS:
            self.look_at(bound + 1)
        return bound

    def look_at(self, bound_versions: int) -> None:
        """Search under one bound, from the best settings of the bounds around it, unless that was done."""
        if bound_versions not in self.bounds:
            below = max(bound for bound in self.bounds if bound < bound_versions)
            above = min(bound for bound in self.bounds if bound > bound_versions)
            self._look(bound_versions, self._moved((below, above), bound_versions))

    @property
    def bounds(self) -> list[int]:
        """The bounds that were tried, rising."""
        return sorted({setting.bound_versions for setting in self.found})

    def worthwhile_bound(self) -> int:
        """The smallest bound of which the best setting is within 1% of the best of all."""
        return worthwhile(
            {bound: self.found[self.best(self._of(bound))] for bound in self.bounds}, self._least_length_ratio
        )

    def best(self, settings: Iterable[Setting]) -> Setting:
        """The best of settings that were tried."""
        return max(settings, key=lambda setting: standing(self.found[setting], self._least_length_ratio))

    def best_by_policy(self, bound_versions: int) -> dict[str, Setting]:
        """The best setting of each policy under a bound."""
        policies: dict[str, list[Setting]] = {}
        for setting in self._of(bound_versions):
            policies.setdefault(setting.variant.policy, []).append(setting)
        return {policy: self.best(settings) for policy, settings in policies.items()}

    def _of(self, bound_versions: int) -> list[Setting]:
        return [setting for setting in self.found if setting.bound_versions == bound_versions]

    def _moved(self, bounds: Iterable[int], bound_versions: int) -> list[Setting]:
        return [
            self._space.moved(setting, bound_versions)
            for bound in bounds
            for setting in self.best_by_policy(bound).values()
        ]

    def _look(self, bound_versions: int, starts: Sequence[Setting]) -> None:
        """Try ``starts`` and what is beside the best of each policy, then climb from the best of all."""
        self._try(starts)
        tops = self.best_by_policy(bound_versions).values()
        self._try([setting for top in tops for setting in self._space.neighbours(top)])
        for _ in range(_MOST_ROUNDS):
            self._try(self._space.neighbours(self.best(self._of(bound_versions))))

    def _try(self, settings: Sequence[Setting]) -> None:
        new = [setting for setting in dict.fromkeys(settings) if setting not in self.found]
        if new:
            self.found |= self._measure(new)


def standing(measures: Measures, least_length_ratio: float) -> tuple[bool, float, float]:
    """What a setting is ranked by: enough trained length, then fresh tokens; without it, by the length it has."""
    is_long_enough = measures.trained_length_ratio >= least_length_ratio
    if is_long_enough:
        return (True, measures.fresh_token_share, measures.trained_length_ratio)
    return (False, measures.trained_length_ratio, measures.fresh_token_share)


def worthwhile(best_by_bound: Mapping[int, Measures], least_length_ratio: float) -> int:
    """The smallest bound within ``WORTH_A_VERSION`` of the best; where none trains long enough, that of the best."""
    ranks = {bound: standing(measures, least_length_ratio) for bound, measures in best_by_bound.items()}
    is_reached, most, _ = max(ranks.values())
    return min(
        bound for bound, rank in ranks.items() if rank[0] == is_reached and rank[1] >= most * (1 - WORTH_A_VERSION)
    )


def by_policy(variants: Iterable[Variant]) -> dict[str, list[Variant]]:
    """Variants by the name of their policy, in their order."""
    found: dict[str, list[Variant]] = {}
    for variant in variants:
        found.setdefault(variant.policy, []).append(variant)
    return found


def replica_choices(best_replicas: int, most_replicas: int) -> tuple[int, ...]:
    """Splits to choose from: steps of a tenth of the best by W and T, on a small cluster of one replica; rising."""
    step = max(1.0, best_replicas / 10)
    wanted = (best_replicas + round(place * step) for place in REPLICA_STEPS)
    return tuple(sorted({min(max(replicas, 1), most_replicas) for replicas in wanted}))


def _beside(choices: Sequence[Choice], choice: Choice) -> Sequence[Choice]:
    place = choices.index(choice)
    return [*choices[max(place - 1, 0) : place], *choices[place + 1 : place + 2]]
