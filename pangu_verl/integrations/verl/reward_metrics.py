"""What verl's V1 trainer does not report of rewards: each source's components in training, and means over judged rows.

Invariants: an unjudged row enters no mean but the share of judged rows; padding enters nothing; values that are no
finite number are left out. Names are ``rewards/<source>/<component>``; rows of a reward function of the user's own
count as source ``custom``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pangu_verl.integrations.verl.trajectories import Trajectory, groups_too_small, is_judged

CUSTOM = "custom"
_NOT_COMPONENTS = frozenset({"judged"})


def training_metrics(trajectories: Sequence[Trajectory], *, compares: bool, has_kl_in_reward: bool) -> dict[str, float]:
    """Metrics of one training step. ``compares`` says whether advantages are relative to a group."""
    rows = [trajectory for trajectory in trajectories if not trajectory.is_padding]
    by_source: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_source[str(row.reward.get("source", CUSTOM))].append(row.reward)
    metrics: dict[str, float] = {"rewards/unjudged_rows": sum(row.is_unjudged for row in rows)}
    if compares:
        metrics["rewards/groups_without_comparison"] = len(groups_too_small(rows))
    for source, rewards in by_source.items():
        metrics |= {f"rewards/{source}/{name}": value for name, value in _of_source(rewards).items()}
    if any(row.is_unjudged for row in rows):
        metrics |= _scores_of_judged(rows, has_kl_in_reward=has_kl_in_reward)
    return metrics


def validation_metrics(data_sources: Sequence[str], infos: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """The share of judged rows and their mean reward, by data source; nothing where no reward says what it judged."""
    if "judged" not in infos:
        return {}
    rewards: dict[str, list[float | None]] = defaultdict(list)
    for data_source, reward in zip(data_sources, judged_rewards(infos), strict=True):
        rewards[data_source].append(reward)
    metrics: dict[str, float] = {}
    for data_source, found in rewards.items():
        judged = [reward for reward in found if reward is not None]
        metrics[f"val-aux/{data_source}/judged_share"] = len(judged) / len(found)
        if judged:
            metrics[f"val-aux/{data_source}/reward_of_judged"] = _mean(judged)
    return metrics


def judged_rewards(infos: Mapping[str, Sequence[Any]]) -> list[float | None]:
    """verl's ``reward`` of each validation row; None in the place of a placeholder, which verl leaves out of means."""
    rewards = infos["reward"]
    flags = infos.get("judged", [None] * len(rewards))
    return [reward if is_judged({"judged": flag}) else None for reward, flag in zip(rewards, flags, strict=True)]


def _of_source(rewards: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    judged = [reward for reward in rewards if is_judged(reward)]
    values: dict[str, list[float]] = defaultdict(list)
    for reward in judged:
        for name, value in reward.items():
            if name not in _NOT_COMPONENTS and (number := _number(value)) is not None:
                values[name].append(number)
    found = {name: _mean(numbers) for name, numbers in values.items()}
    return {**found, "rows": len(rewards), "judged_share": len(judged) / len(rewards)}


def _scores_of_judged(rows: Iterable[Trajectory], *, has_kl_in_reward: bool) -> dict[str, float]:
    """verl's own figures of a batch's scores, which it takes over placeholders too."""
    scores = [row.score for row in rows if row.is_judged]
    if not scores:
        return {}
    # With a KL term in the reward the two differ, and the sum of both is not known here.
    names = ("score",) if has_kl_in_reward else ("score", "rewards")
    figures = {"mean": _mean(scores), "max": max(scores), "min": min(scores)}
    return {f"critic/{name}/{figure}": value for name in names for figure, value in figures.items()}


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if not isinstance(value, str) and math.isfinite(number) else None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
