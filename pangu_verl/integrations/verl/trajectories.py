"""The trajectories of a training batch as their rewards describe them, and which of them can be compared.

verl's keys are ``{uid}_{session}_{index}``: a group (uid) has one member per session, and a session of several outputs
has the same reward on each. Invariants: a trajectory whose reward does not say that it was left unjudged counts as
judged, which is what a reward function of the user's own means; padding that verl adds is nobody's member.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: verl's estimators whose advantage of one trajectory needs no other of its group.
_WITHOUT_COMPARISON = frozenset({"gae", "reinforce_plus_plus", "remax"})
_FEWEST_MEMBERS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Trajectory:
    """One row of a batch. ``score`` is the sum of its token rewards; ``reward`` is verl's ``reward_extra_info``."""

    group: str
    session: str
    score: float
    reward: Mapping[str, Any]
    is_padding: bool = False

    @property
    def is_judged(self) -> bool:
        return not self.is_padding and is_judged(self.reward)

    @property
    def is_unjudged(self) -> bool:
        return not self.is_padding and not is_judged(self.reward)


def is_judged(reward: Mapping[str, Any]) -> bool:
    return reward.get("judged", True) is not False


def rewards_of(rows: Any, num_rows: int) -> list[Mapping[str, Any]]:
    """verl's ``reward_extra_info`` of each row that was read from the queue; empty where there is none."""
    # A TensorDict iterates over its rows, and hands objects out as themselves or wrapped, as its version goes.
    found = list(rows["extra_fields"]) if "extra_fields" in rows.keys() else [None] * num_rows  # noqa: SIM118
    return [_reward(getattr(extra, "data", extra)) for extra in found]


def _reward(extra_fields: object) -> Mapping[str, Any]:
    found = extra_fields.get("reward_extra_info") if isinstance(extra_fields, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def trajectories_of(
    keys: Sequence[str],
    tags: Sequence[Mapping[str, Any]],
    scores: Sequence[float],
    rewards: Sequence[Mapping[str, Any]],
) -> list[Trajectory]:
    """One for each row, in the rows' order; all four have one entry per row."""
    found = []
    for key, tag, score, reward in zip(keys, tags, scores, rewards, strict=True):
        group, session, _ = key.rsplit("_", 2)
        found.append(
            Trajectory(
                group=group,
                session=session,
                score=score,
                reward=reward,
                is_padding=bool(tag.get("is_padding", False)),
            )
        )
    return found


def compares_members(adv_estimator: str, responses_per_prompt: int) -> bool:
    """Whether an advantage is relative to the other members of its group.

    With one response per prompt there is no group, and verl takes the score itself for the advantage.
    """
    return responses_per_prompt > 1 and adv_estimator not in _WITHOUT_COMPARISON


def judged_members(trajectories: Sequence[Trajectory]) -> dict[str, set[str]]:
    """The judged sessions of each group, groups without any included."""
    members: dict[str, set[str]] = defaultdict(set)
    for trajectory in trajectories:
        if not trajectory.is_padding:
            members[trajectory.group].update({trajectory.session} if trajectory.is_judged else ())
    return members


def groups_too_small(trajectories: Sequence[Trajectory]) -> set[str]:
    """The groups with fewer than two judged members, whose members have nothing to be compared with."""
    return {group for group, members in judged_members(trajectories).items() if len(members) < _FEWEST_MEMBERS}


def with_advantage(trajectories: Sequence[Trajectory], *, compares: bool) -> list[bool]:
    """Whether each row takes part in estimating advantages; the others have an advantage of zero."""
    too_small = groups_too_small(trajectories) if compares else set()
    return [row.is_padding or (row.is_judged and row.group not in too_small) for row in trajectories]
