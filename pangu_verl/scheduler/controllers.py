"""Controllers move the staleness bound and the window between limits, from what a run measures of itself.

Invariant: what is within a controller's limits stays there, what starts outside moves only towards them, and nothing
changes on the word of a single step. Third
parties add theirs by the hook ``register_bound_controllers``; ``Scheduler.adjust`` carries the answer out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pangu_verl.errors import WrongUse
from pangu_verl.scheduler.options import configured
from pangu_verl.scheduler.readings import Decision, Reading


@dataclass(kw_only=True, slots=True)
class Adaptive:
    """Fresher where stale tokens hurt, looser where time or tokens are lost and they do not.

    One wish a step, the first that applies:

    1. drift: effective samples below ``least_effective_share``, or |log ratio| above ``most_log_ratio``: bound - 1;
    2. the batch would have been worth more under another bound, by ``least_gain`` of itself: one version towards it;
    3. both sides idle while the drift is known and far from its limits: bound + 1 (stragglers hold up everything);
    4. both sides idle, but the bound may not grow: window + a step (credits were short);
    5. trainer busy and rollout idle: window - a step (work would only wait and grow old).

    A step of the window is ``window_step_batches``, and at least a group.

    A wish is carried out once ``patience_steps`` steps in a row have wished it, and the count then starts again. A
    share counts as idle above ``idle_share``. "Far from its limits" is half of the way to 1 and half of
    ``most_log_ratio``: a wider band than the limits, so that one change does not call for the opposite one. A drift
    that nobody measures, or that is NaN, never raises the bound. All numbers are project defaults: the paper's are not
    known.
    """

    name = "adaptive"
    least_bound_versions: int = 1
    most_bound_versions: int = 8
    least_window_batches: float = 1.5
    most_window_batches: float = 9.0
    window_step_batches: float = 0.25
    least_effective_share: float = 0.5
    most_log_ratio: float = 0.5
    least_gain: float = 0.01
    idle_share: float = 0.2
    patience_steps: int = 4
    _wish: tuple[int, int] = field(default=(0, 0), init=False)
    _steps: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        for name in ("least_effective_share", "least_gain", "idle_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise WrongUse(f"{name} lies in 0..1, not {getattr(self, name)}")
        for least, most, floor in (
            ("least_bound_versions", "most_bound_versions", 0),
            ("least_window_batches", "most_window_batches", 1),
        ):
            if not floor <= getattr(self, least) <= getattr(self, most):
                raise WrongUse(
                    f"{least} lies between {floor} and {most}, not {getattr(self, least)} with {getattr(self, most)}"
                )
        if self.most_log_ratio <= 0.0 or self.window_step_batches <= 0.0 or self.patience_steps < 1:
            raise WrongUse(
                "most_log_ratio and window_step_batches are above 0 and patience_steps at least 1, not "
                f"{self.most_log_ratio}, {self.window_step_batches} and {self.patience_steps}"
            )

    def with_options(self, options: Mapping[str, Any]) -> Adaptive:
        return configured(self, options)

    def decide(self, reading: Reading, now: Decision) -> Decision:
        wish = self._wished(reading, now)
        self._steps = self._steps + 1 if wish == self._wish else 1
        self._wish = wish
        more_versions, more_steps = (0, 0)
        if self._steps >= self.patience_steps:
            self._steps = 0
            more_versions, more_steps = wish
        batch = reading.batch_groups
        bounds = (self.least_bound_versions, self.most_bound_versions)
        windows = (round(self.least_window_batches * batch), round(self.most_window_batches * batch))
        window = now.window_groups + more_steps * max(1, round(self.window_step_batches * batch))
        return Decision(
            _towards(now.bound_versions + more_versions, now.bound_versions, bounds),
            _towards(window, now.window_groups, windows),
        )

    def _wished(self, reading: Reading, now: Decision) -> tuple[int, int]:
        """By how many versions the bound, and by how many steps the window should move."""
        drift = self._drift(reading)
        if drift > 1.0:
            return (-1, 0)
        if (better := self._better_bound(reading, now.bound_versions)) != now.bound_versions:
            return (1 if better > now.bound_versions else -1, 0)
        trainer_idle = reading.trainer_idle_share > self.idle_share
        rollout_idle = reading.rollout_idle_share > self.idle_share
        is_short = trainer_idle and rollout_idle
        if is_short and drift <= 0.5 and now.bound_versions < self.most_bound_versions:
            return (1, 0)
        if is_short:
            return (0, 1)
        if rollout_idle and not trainer_idle:
            return (0, -1)
        return (0, 0)

    def _better_bound(self, reading: Reading, bound_versions: int) -> int:
        """The bound under which the batch would have been worth most; the present one unless it is worth the change."""
        allowed = range(self.least_bound_versions, self.most_bound_versions + 1)
        worth = {bound: share for bound, share in reading.effective_share_by_bound.items() if bound in allowed}
        if bound_versions not in worth:
            return bound_versions
        best = max(worth, key=lambda bound: (worth[bound], -bound))
        return best if worth[best] > worth[bound_versions] * (1.0 + self.least_gain) else bound_versions

    def _drift(self, reading: Reading) -> float:
        """How much of what is tolerated is used up: above 1 is too much, unknown is just not too much."""
        used = []
        if reading.effective_sample_share is not None:
            used.append((1.0 - reading.effective_sample_share) / max(1.0 - self.least_effective_share, 1e-9))
        if reading.mean_absolute_log_ratio is not None:
            used.append(reading.mean_absolute_log_ratio / self.most_log_ratio)
        return max((1.0 if math.isnan(share) else share for share in used), default=1.0)


def _towards(wanted: int, now: int, limits: tuple[int, int]) -> int:
    """``wanted`` within the limits, or no further out than ``now`` is."""
    least, most = min(limits[0], now), max(limits[1], now)
    return min(max(wanted, least), most)
