"""What a bound controller is told after each step, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What was measured over one training step of ``batch_groups`` groups. Shares lie in 0..1.

    ``trainer_idle_share`` and ``rollout_idle_share`` are time-weighted: time without a batch, decode slots without a
    trajectory. Over the importance weights w of the N trained tokens, ``effective_sample_share`` is (sum of w)^2 /
    (N x sum of w^2) and ``mean_absolute_log_ratio`` the mean of |log w|; None where nothing was measured.
    ``effective_share_by_bound`` says what the batch would have been worth under other bounds: with N_l tokens of lag l,
    masked ones too, and m_l the mean of their w^2, (sum of N_l)^2 / (sum of N_l x m_l) over l <= s, as a share of all
    its tokens. Empty where nothing was measured or nothing was masked.
    """

    batch_groups: int
    trainer_idle_share: float
    rollout_idle_share: float
    effective_sample_share: float | None = None
    mean_absolute_log_ratio: float | None = None
    effective_share_by_bound: Mapping[int, float] = field(default_factory=dict)


class Decision(NamedTuple):
    """The bound in versions and the window in groups from the next step on."""

    bound_versions: int
    window_groups: int
