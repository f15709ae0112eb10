"""verl's V1 trainers, each with the one difference that a trajectory nobody could judge is not trained on.

``judging_trainer`` derives a trainer from the one that verl (or somebody else) registered for a mode, and registers it
under a name of its own. Invariants:

* Advantages are estimated by verl, on the batch without its unjudged rows, so the mean and deviation of a group are
  those of its judged members, whichever the estimator.
* A group with fewer than two judged members has an advantage of zero, if the estimator compares members.
* Unjudged rows have masks of zeros from there on: they enter neither the loss of the actor nor that of the critic.
* With ``pangu.loss.zero_advantage_mask`` groups without a difference in score leave the loss as well.
* A batch of which no row was judged ends the run by name: there is nothing to train on, and the loss would be 0 / 0.

With ``loss_agg_mode=seq-mean-*`` verl divides by the configured size of a batch, so masked rows make the step smaller
there, as verl's own padding does. A mini-batch that is masked as a whole has no finite gradient, and verl skips it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omegaconf import OmegaConf
from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY, PPOTrainer, get_trainer_cls, register_trainer

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.judged_groups import filter_by_judged
from pangu_verl.integrations.verl.layout import resumed_checkpoint
from pangu_verl.integrations.verl.queue_rows import MASKS, nested, part, read, write
from pangu_verl.integrations.verl.reward_metrics import judged_rewards, training_metrics, validation_metrics
from pangu_verl.integrations.verl.shared_state import restore_state, state_metrics
from pangu_verl.integrations.verl.trajectories import (
    Trajectory,
    compares_members,
    rewards_of,
    trajectories_of,
    with_advantage,
)
from pangu_verl.integrations.verl.zero_advantages import ZERO_ADVANTAGE_MASK, ZeroAdvantages, rows_without_advantage

#: What verl writes when it estimates advantages, and reads again for every row; the last two not in every run.
_ESTIMATED = ("advantages", "returns", "token_level_rewards", "rollout_is_weights")


def judging_trainer(mode: str) -> str:
    """The name of the trainer for verl's ``mode`` that leaves unjudged rows out; registered once per process."""
    name = f"pangu_{mode}"
    if name not in TRAINER_REGISTRY:
        trainer = type(f"Judging_{mode}", (_JudgedTraining, get_trainer_cls(mode)), {"mode": mode})
        register_trainer(name)(trainer)
    return name


class _JudgedTraining(PPOTrainer):
    """Comes before a trainer of verl in a class's bases."""

    mode: str

    def __init__(self, config: Any) -> None:
        # verl compares the mode with its own names, and reads the section trainer.v1.<mode>.
        config.trainer.v1.trainer_mode = self.mode
        super().__init__(config=config)
        self._trajectories: list[Trajectory] = []
        self._zero_advantages = ZeroAdvantages()

    def _build_replay_buffer(self) -> Any:
        return filter_by_judged(super()._build_replay_buffer())

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if self.global_steps > 0:
            restore_state(resumed_checkpoint(self.config, self.global_steps))

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        trajectories = self._read_trajectories(batch)
        self._trajectories.extend(trajectories)
        batch = self._estimate(batch, metrics, trajectories)
        masks = OmegaConf.select(self.config, ZERO_ADVANTAGE_MASK)
        return self._mask_zero_advantages(batch, metrics, trajectories) if masks else batch

    def _estimate(self, batch: Any, metrics: dict[str, Any], trajectories: Sequence[Trajectory]) -> Any:
        """verl's estimate over the rows that were judged; the others leave the loss."""
        kept = with_advantage(trajectories, compares=self._compares)
        if all(kept):
            return super()._compute_advantage(batch, metrics)
        _require_judged(trajectories, self.global_steps)
        fields = self._estimated_fields()
        if any(keep and not row.is_padding for keep, row in zip(kept, trajectories, strict=True)):
            judged = part(batch, kept)
            super()._compute_advantage(judged, metrics)
            fields = _fields_of(judged)
            _write_zeros(part(batch, [not keep for keep in kept]), fields)
        else:
            _write_zeros(batch, fields)
        return _mask(batch, [row.is_unjudged for row in trajectories])

    def _mask_zero_advantages(self, batch: Any, metrics: dict[str, Any], trajectories: Sequence[Trajectory]) -> Any:
        out = rows_without_advantage(trajectories)
        is_live = [bool(mask.any()) for mask in read(batch, MASKS)[MASKS[0]].unbind()]
        metrics.update(self._zero_advantages.metrics(out, is_live))
        return _mask(batch, out) if any(out) else batch

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super()._compute_metrics(batch, metrics, *args, **kwargs)
        has_kl = bool(self.config.algorithm.use_kl_in_reward)
        metrics.update(training_metrics(self._trajectories, compares=self._compares, has_kl_in_reward=has_kl))
        metrics.update(state_metrics())
        self._trajectories = []

    def _val_metrics_update(
        self, data_sources: Sequence[str], sample_uids: Any, infos: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, float]:
        without_placeholders = {**infos, "reward": judged_rewards(infos)}
        found = super()._val_metrics_update(data_sources, sample_uids, without_placeholders, *args, **kwargs)
        return {**found, **validation_metrics(data_sources, infos)}

    @property
    def _compares(self) -> bool:
        return compares_members(self.config.algorithm.adv_estimator, self.config.actor_rollout_ref.rollout.n)

    def _estimated_fields(self) -> dict[str, torch.dtype]:
        names = _ESTIMATED[:3] if self.config.algorithm.use_kl_in_reward else _ESTIMATED[:2]
        return dict.fromkeys(names, torch.float32)

    def _read_trajectories(self, batch: Any) -> list[Trajectory]:
        found = read(batch, ["rm_scores", "extra_fields"])
        scores = [float(row.sum()) for row in found["rm_scores"].unbind()]
        return trajectories_of(batch.keys, batch.tags, scores, rewards_of(found, len(batch)))


def _require_judged(trajectories: Sequence[Trajectory], step: int) -> None:
    rows = [row for row in trajectories if not row.is_padding]
    if any(row.is_judged for row in rows):
        return
    reward = rows[0].reward if rows else {}
    raise RunFailed(
        f"step {step}: none of the {len(rows)} trajectories could be judged (reward source "
        f"{str(reward.get('source'))!r}: {reward.get('reason')}), so there is nothing to train on; mend the reward or "
        "the rows"
    )


# --- rows in the queue -----------------------------------------------------------------------------------------------


def _fields_of(rows: Any) -> dict[str, torch.dtype]:
    """What verl wrote for these rows, and so has to be there for the others."""
    found = read(rows, _ESTIMATED)
    return {name: found[name].dtype for name in found.keys()}  # noqa: SIM118 - a TensorDict iterates over its rows


def _write_zeros(batch: Any, fields: Mapping[str, torch.dtype]) -> None:
    masks = read(batch, ["response_mask"])["response_mask"].unbind()
    write(
        batch,
        {name: nested([torch.zeros(mask.shape, dtype=dtype) for mask in masks]) for name, dtype in fields.items()},
    )


def _mask(batch: Any, is_out: Sequence[bool]) -> Any:
    """Take rows out of every loss."""
    found = read(batch, MASKS)
    masked = {
        name: nested(
            [torch.zeros_like(row) if out else row for row, out in zip(found[name].unbind(), is_out, strict=True)]
        )
        for name in MASKS
    }
    return write(batch, masked)
