"""Recommendations and measures made by hand, without a simulation."""

from __future__ import annotations

from typing import Any

from pangu_verl.simulate.cluster import design_cluster
from pangu_verl.simulate.order import Order
from pangu_verl.simulate.recommend import Finalist, Recommendation, frontier
from pangu_verl.simulate.trials import Measures, Setting, Variant

WAIT, DROP = Variant("wait"), Variant("drop")
MASKS = tuple(Variant("mask", (("least_fresh_share", floor),)) for floor in (1.0, 0.5, 0.0))
#: Plays in a moment: six steps of four groups of two on eight slots.
TINY = Order(steps=6, batch_groups=4, trajectories=2)


def made_measures(fresh_token_share: float, trained_length_ratio: float, **more: float) -> Measures:
    values: dict[str, Any] = dict.fromkeys(Measures.__slots__, 0.0)
    values |= {"ceiling_share": fresh_token_share / trained_length_ratio, "trained_tokens_per_s": 100.0}
    values |= {"longest_tokens": 8_000, "mean_step_s": 2.0, "bound_share": 0.9}
    return Measures(
        **{**values, **more, "fresh_token_share": fresh_token_share, "trained_length_ratio": trained_length_ratio}
    )


def made_recommendation(**changes: Any) -> Recommendation:
    """``mask`` with bound 4 on the design's cluster, of three finalists; ``changes`` replace fields."""
    tried = {
        Setting(WAIT, 2, 192, 341): made_measures(0.45, 0.98),
        Setting(DROP, 2, 192, 341): made_measures(0.48, 0.97),
        Setting(MASKS[1], 2, 96, 341): made_measures(0.52, 0.90),
        Setting(WAIT, 4, 320, 341): made_measures(0.73, 0.98),
        Setting(MASKS[1], 4, 320, 341): made_measures(0.87, 0.92),
        Setting(MASKS[2], 4, 320, 341): made_measures(0.88, 0.85),
        Setting(WAIT, 8, 576, 341): made_measures(0.95, 0.97),
    }
    finalists = tuple(
        Finalist(setting=setting, measures=measures, standard_error=0.004)
        for setting, measures in tried.items()
        if setting.bound_versions == 4
    )
    fields: dict[str, Any] = {
        "order": Order(),
        "cluster": design_cluster(0.5),
        "least_length_ratio": 0.9,
        "is_reached": True,
        "chosen": finalists[1],
        "finalists": finalists,
        "one_more_version": Finalist(
            setting=Setting(MASKS[1], 5, 384, 341), measures=made_measures(0.9135, 0.94), standard_error=0.004
        ),
        "replica_gain": 0.02,
        "replica_error": 0.001,
        "least_bound_for_full_speed": 5.33,
        "tried": tried,
        "frontier": frontier(tried),
        "best_by_policy": tuple(setting for setting in tried if setting.variant != MASKS[2]),
    }
    return Recommendation(**{**fields, **changes})


def chosen_with(**measures: float) -> Finalist:
    """The chosen finalist of ``made_recommendation`` with other measures."""
    return Finalist(
        setting=Setting(MASKS[1], 4, 320, 341), measures=made_measures(0.87, 0.92, **measures), standard_error=0.004
    )
