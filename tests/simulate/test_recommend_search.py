"""The search: what there is to choose from, how it climbs, and which bound is worth its staleness."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulate_recommending import DROP, MASKS, WAIT, made_measures

from pangu_verl.simulate.search import (
    MOST_BOUND_VERSIONS,
    Found,
    Search,
    Space,
    replica_choices,
    standing,
    worthwhile,
)
from pangu_verl.simulate.trials import Setting

SPACE = Space(variants=(WAIT, DROP, *MASKS), batch_groups=64, replicas=replica_choices(100, 149), best_replicas=100)


class World:
    """Answers a search from formulas, and keeps what was asked."""

    def __init__(self, best_bound: int = 6, best_replicas: int = 80, length_of_mask: float = 0.95) -> None:
        self.asked: list[Setting] = []
        self._best_bound = best_bound
        self._best_replicas = best_replicas
        self._length_of_mask = length_of_mask

    def __call__(self, settings: Sequence[Setting]) -> Found:
        self.asked += settings
        return {setting: made_measures(self._fresh(setting), self._length(setting)) for setting in settings}

    def _fresh(self, setting: Setting) -> float:
        share = min(setting.bound_versions, self._best_bound) / self._best_bound
        share *= 1.0 if setting.variant.policy == "mask" else 0.8
        return share * (1 - 0.5 * abs(setting.replicas / self._best_replicas - 1))

    def _length(self, setting: Setting) -> float:
        return self._length_of_mask if setting.variant.policy == "mask" else 1.0


def searched(world: World, least_length_ratio: float = 0.9) -> tuple[Search, int]:
    search = Search(SPACE, least_length_ratio, world)
    return search, search.run()


@pytest.mark.parametrize("best_bound", [1, 2, 3, 4, 5, 6, 7, 8])
def test_the_smallest_bound_that_is_fast_enough_is_found_among_all(best_bound: int) -> None:
    _, bound = searched(World(best_bound))
    assert bound == best_bound


@pytest.mark.parametrize("best_replicas", [50, 80, 100, 120])
def test_the_split_is_climbed_to_from_that_of_the_formula(best_replicas: int) -> None:
    search, bound = searched(World(best_replicas=best_replicas))
    best = search.best(setting for setting in search.found if setting.bound_versions == bound)
    assert best.replicas == best_replicas


def test_a_policy_that_trains_on_too_little_length_is_not_the_best() -> None:
    search, bound = searched(World(length_of_mask=0.85))
    assert search.best_by_policy(bound).keys() == {"wait", "drop", "mask"}
    assert search.best(search.found).variant.policy != "mask"


def test_nothing_is_measured_twice() -> None:
    world = World()
    searched(world)
    assert len(world.asked) == len(set(world.asked))


def test_a_search_tries_the_bound_above_its_answer() -> None:
    search, bound = searched(World(best_bound=3))
    assert bound == 3
    assert 4 in search.bounds


def test_no_bound_above_the_largest_is_tried() -> None:
    search, bound = searched(World(best_bound=20))
    assert bound == MOST_BOUND_VERSIONS
    assert max(search.bounds) == MOST_BOUND_VERSIONS


def test_a_given_window_is_the_only_one_as_far_as_the_bound_allows_it() -> None:
    space = Space(variants=(WAIT,), batch_groups=64, replicas=(100,), best_replicas=100, window_groups=150)
    assert space.windows(1) == [128]
    assert space.windows(4) == [150]


def test_a_split_that_is_given_is_the_only_one() -> None:
    space = Space(variants=(WAIT,), batch_groups=64, replicas=(100,), best_replicas=100)
    search = Search(space, 0.9, World())
    search.run()
    assert {setting.replicas for setting in search.found} == {100}


@given(batch=st.integers(1, 300), bound=st.integers(1, 8))
def test_every_window_holds_a_batch_and_no_more_than_the_bound_allows(batch: int, bound: int) -> None:
    windows = Space(variants=(WAIT,), batch_groups=batch, replicas=(1,), best_replicas=1).windows(bound)
    assert windows == sorted(set(windows))
    assert windows[0] >= batch
    assert windows[-1] == (bound + 1) * batch


@given(best=st.integers(1, 5_000), more=st.integers(0, 5_000))
def test_splits_leave_a_replica_and_never_take_more_than_there_are(best: int, more: int) -> None:
    choices = replica_choices(best, best + more)
    assert choices == tuple(sorted(set(choices)))
    assert best in choices
    assert choices[0] >= 1 and choices[-1] <= best + more


@given(best=st.integers(2, 12))
def test_on_a_small_cluster_the_next_splits_are_one_replica_away(best: int) -> None:
    assert {best - 1, best + 1} <= set(replica_choices(best, 100))


@given(
    bound=st.integers(1, 8), other=st.integers(1, 8), place=st.integers(0, 5), replicas=st.sampled_from(SPACE.replicas)
)
def test_a_setting_moved_to_another_bound_is_one_of_that_bound(
    bound: int, other: int, place: int, replicas: int
) -> None:
    windows = SPACE.windows(bound)
    setting = Setting(WAIT, bound, windows[min(place, len(windows) - 1)], replicas)
    moved = SPACE.moved(setting, other)
    assert moved.bound_versions == other
    assert moved.window_groups in SPACE.windows(other)
    assert SPACE.neighbours(moved) == list(dict.fromkeys(SPACE.neighbours(moved)))


def test_enough_length_goes_before_any_speed() -> None:
    assert standing(made_measures(0.3, 0.9), 0.9) > standing(made_measures(0.9, 0.89), 0.9)


def test_where_nothing_trains_long_enough_the_longest_is_the_nearest() -> None:
    assert standing(made_measures(0.3, 0.8), 0.9) > standing(made_measures(0.9, 0.7), 0.9)


def test_a_larger_bound_has_to_give_more_than_one_per_cent() -> None:
    assert worthwhile({2: made_measures(0.792, 1.0), 3: made_measures(0.8, 1.0)}, 0.9) == 2
    assert worthwhile({2: made_measures(0.79, 1.0), 3: made_measures(0.8, 1.0)}, 0.9) == 3


def test_a_small_bound_without_enough_length_is_not_worth_it() -> None:
    assert worthwhile({2: made_measures(0.8, 0.7), 3: made_measures(0.5, 0.95)}, 0.9) == 3
