"""A recommendation in words: what to set, what holds it back, and what more staleness or devices would give.

Invariant: every sentence follows from the numbers of the recommendation, by the thresholds below. Nothing is simulated.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator

from pangu_verl.simulate.recommend import Finalist, Recommendation
from pangu_verl.simulate.search import MOST_BOUND_VERSIONS
from pangu_verl.simulate.trials import share_of

#: Shares below these are not worth a sentence (project defaults).
_IDLE_SHARE = 0.05
_LOST_SHARE = 0.01
#: A window of fewer trajectories a slot, ready groups included, leaves slots empty (project default).
_WINDOW_SLOTS = 3


def headline(found: Recommendation) -> str:
    """What is recommended, in a sentence."""
    setting, measures = found.chosen.setting, found.chosen.measures
    devices = setting.replicas * found.cluster.devices_per_replica
    advised = (
        f"{setting.variant} with bound {setting.bound_versions}, a window of {setting.window_groups} groups, "
        f"{devices} of {found.cluster.devices} devices to roll out"
    )
    if found.is_reached:
        return f"Use {advised}."
    return (
        f"Nothing that was tried trains on {found.least_length_ratio:.0%} of the natural length. The nearest, with "
        f"{measures.trained_length_ratio:.1%}, is {advised}."
    )


def limits(found: Recommendation) -> list[str]:
    """What keeps the recommended setting from the ceiling, in sentences."""
    return list(_idle(found.chosen, found)) + list(_lost(found.chosen))


def outlook(found: Recommendation) -> list[str]:
    """What one more version or replica would give, and the bound for full speed."""
    return [_one_more_version(found), _one_more_replica(found), _full_speed(found)]


def command(found: Recommendation) -> str:
    """What plays the recommended setting again."""
    order, setting = found.order, found.chosen.setting
    words = ["pangu-verl", "simulate", "--policy", setting.variant.policy]
    words += [word for name, value in setting.variant.options for word in ("--option", f"{name}={value:g}")]
    words += ["--staleness", str(setting.bound_versions), "--window", str(setting.window_groups)]
    words += ["--rollout-share", f"{share_of(found.cluster, setting.replicas):.6f}", "--trace", order.trace]
    if order.cluster is None:
        words += ["--train-to-rollout-ratio", f"{order.train_to_rollout_ratio:g}"]
    else:
        words += ["--cluster", str(order.cluster)]
    words += [word for name, weight in order.priority.items() for word in ("--priority", f"{name}={weight:g}")]
    words += ["--wave", str(order.wave_groups)] if order.wave_groups else []
    words += ["--batch-groups", str(order.batch_groups), "--trajectories", str(order.trajectories)]
    words += ["--steps", str(order.steps), "--seeds", str(found.num_seeds), "--seed", str(order.first_seed)]
    return shlex.join(words)


def _idle(chosen: Finalist, found: Recommendation) -> Iterator[str]:
    measures, cluster = chosen.measures, found.cluster
    pauses = cluster.publication_s / measures.mean_step_s
    if pauses >= _LOST_SHARE:
        yield f"Publication: everything stands still for {pauses:.1%} of the time."
    trainer, rollout = measures.trainer_idle_share - pauses, measures.rollout_idle_share - pauses
    besides = " besides" if pauses >= _LOST_SHARE else ""
    if max(trainer, rollout) < _IDLE_SHARE:
        yield (
            f"Hardly anything{besides}: the trainer is idle for {max(trainer, 0.0):.1%} of the time, the decode slots "
            f"for {max(rollout, 0.0):.1%}."
        )
    elif min(trainer, rollout) >= _IDLE_SHARE:
        yield (
            f"Stragglers: trainer ({trainer:.1%} of the time{besides}) and decode slots ({rollout:.1%}) are both idle, "
            "because a group is ready only once its longest response is."
        )
        yield from _standing_still(found)
        yield from _narrow_window(chosen, found)
    elif trainer >= _IDLE_SHARE:
        yield (
            f"Rollout: the trainer is idle for {trainer:.1%} of the time{besides} while the decode slots are busy. Of "
            "the splits that were tried none does better."
        )
    else:
        yield (
            f"The trainer: {rollout:.1%} of the decode slots are empty{besides} while it is busy. Of the splits that "
            "were tried none does better."
        )
        yield from _standing_still(found)


def _standing_still(found: Recommendation) -> Iterator[str]:
    if found.cluster.prefill_tokens_per_s is not None or found.cluster.mean_time_between_failures_s is not None:
        yield "Part of it is replicas that rebuild contexts or are down: their slots count as idle."


def _narrow_window(chosen: Finalist, found: Recommendation) -> Iterator[str]:
    setting = chosen.setting
    slots = setting.replicas * found.cluster.slots_per_replica
    is_narrow = setting.window_groups < (setting.bound_versions + 1) * found.order.batch_groups
    if is_narrow and setting.window_groups * found.order.trajectories < _WINDOW_SLOTS * slots:
        yield (
            f"The window of {setting.window_groups} groups leaves slots empty: with a wider one groups grow older, and "
            "of those that were tried none does better."
        )


def _lost(chosen: Finalist) -> Iterator[str]:
    measures, bound = chosen.measures, chosen.setting.bound_versions
    if measures.masked_share >= _LOST_SHARE:
        yield (
            f"The bound: {measures.masked_share:.1%} of the consumed tokens are older than {bound} "
            f"version{'s' if bound > 1 else ''} and stay out of the loss."
        )
    if measures.wasted_token_share >= _LOST_SHARE:
        yield f"Work given up: {measures.wasted_token_share:.1%} of the tokens are generated for nothing."


def _one_more_version(found: Recommendation) -> str:
    bound = found.chosen.setting.bound_versions
    if (more := found.one_more_version) is None:
        return f"More staleness: a bound over {MOST_BOUND_VERSIONS} was not tried."
    before, after = found.chosen.measures, more.measures
    change = after.fresh_token_share / before.fresh_token_share - 1
    return (
        f"One more version of staleness (bound {bound + 1}): {change:+.1%} fresh tokens, trained length "
        f"{before.trained_length_ratio:.1%} to {after.trained_length_ratio:.1%}."
    )


def _one_more_replica(found: Recommendation) -> str:
    devices = found.cluster.devices_per_replica
    gain, error = found.replica_gain, found.replica_error
    said = (
        f"One more replica ({devices} device{'s' if devices > 1 else ''}, {devices / found.cluster.devices:.1%} of "
        f"those there are) to roll out: {gain:+.1%} trained tokens a second"
    )
    return f"{said}, no more than runs differ by their seed." if abs(gain) < 2 * error else f"{said}."


def _full_speed(found: Recommendation) -> str:
    least = found.least_bound_for_full_speed
    return (
        f"For full speed without masking or dropping the bound is at least L / (W + T) = {least:.1f}, so "
        f"{math.ceil(least)}: the longest response takes {least:.1f} times as long as a step at the ceiling."
    )
