"""Groups that teach nothing: all their members have the same score, so none is better than another.

Their advantage is 0 in every estimator that compares the members of a group, but not always in verl's float32: twelve
members of score 0.97 get 0.15 each from GRPO. So groups are told by their scores. With
``pangu.loss.zero_advantage_mask`` such rows leave both masks of the loss, as in Pangu Pro MoE (arXiv 2505.21411), where
the mask is defined by A = 0. Which mean is meant there is not said: ours is over the rows that stay. Nothing is read or
written here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from omegaconf import DictConfig

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.trajectories import Trajectory, compares_members

ZERO_ADVANTAGE_MASK = "pangu.loss.zero_advantage_mask"


def refuse_unfit_mask(config: DictConfig) -> None:
    """Raise ``WrongUse`` where equal scores do not say that the advantage is 0."""
    if not config.pangu.loss.zero_advantage_mask:
        return
    estimator, responses = config.algorithm.adv_estimator, config.actor_rollout_ref.rollout.n
    if not compares_members(estimator, responses):
        raise WrongUse(
            f"{ZERO_ADVANTAGE_MASK}=true needs an advantage that compares the responses to a prompt, and "
            f"algorithm.adv_estimator={estimator} with actor_rollout_ref.rollout.n={responses} does not; take grpo and "
            "2 or more, or no mask"
        )
    if config.algorithm.use_kl_in_reward:
        raise WrongUse(
            f"{ZERO_ADVANTAGE_MASK}=true goes by scores, and algorithm.use_kl_in_reward=true adds to them token by "
            "token; take actor_rollout_ref.actor.use_kl_loss, or leave the mask out"
        )


def rows_without_advantage(trajectories: Sequence[Trajectory]) -> list[bool]:
    """Whether each row is of a group whose judged members all have the same score; padding is of no group."""
    scores: defaultdict[str, set[float]] = defaultdict(set)
    for row in trajectories:
        if row.is_judged:
            scores[row.group].add(row.score)
    return [not row.is_padding and len(scores[row.group]) < 2 for row in trajectories]


class ZeroAdvantages:
    """What a run has masked so far."""

    def __init__(self) -> None:
        self._steps_without_a_token = 0

    def metrics(self, is_masked: Sequence[bool], is_live: Sequence[bool]) -> dict[str, float]:
        """Of a step's rows: which are without advantage, and which had a token in the loss before these left it."""
        live = [masked for masked, was_live in zip(is_masked, is_live, strict=True) if was_live]
        self._steps_without_a_token += all(live)
        return {
            "loss/zero_advantage_rows_share/mean": sum(live) / max(len(live), 1),
            "loss/steps_without_a_token_so_far/max": float(self._steps_without_a_token),
        }
