"""What comes of a simulated run, as one record: what ``pangu-verl simulate --json`` prints.

Invariant: every field is a number, a text or an object of these, and depends on plan and seed alone. How the shares are
worked out is in ``shares``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskOutcome:
    """One task's part: of the trained groups, of the trained tokens, and its own trained-length ratio."""

    group_share: float
    token_share: float
    trained_length_ratio: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Shares are 0..1 and, where nothing else is said, of the whole run; lags and ages are in policy versions.

    ``violations`` counts trained tokens over the bound. ``dropped_share`` is the groups given up by the policy, of
    those and the trained ones; ``wasted_token_share`` the tokens given up with them or by failures, of those and the
    consumed ones; ``masked_share`` the consumed tokens that stayed out of the loss. A queue age counts from admission;
    ``oldest_age_versions`` takes in groups that the run left untrained. ``bound_course`` is the least, most and last
    bound where a controller moved it; ``staleness_bound`` is then the largest. ``warm_up_batches`` is verl's
    where it was swept, that of the best run.
    """

    policy: str
    staleness_bound: int
    trace: str
    train_to_rollout_ratio: float
    steps: int
    batch_groups: int
    trajectories: int
    devices: int
    rollout_slots: int
    trainer_devices: int
    mean_step_s: float
    ceiling_share: float
    bound_share: float
    fresh_token_share: float
    trained_length_ratio: float
    masked_share: float
    dropped_share: float
    wasted_token_share: float
    restarted_groups: int
    violations: int
    max_trained_lag: int
    trained_lag_p50: int
    trained_lag_p99: int
    trainer_idle_share: float
    rollout_idle_share: float
    queue_age_p50_versions: int
    queue_age_max_versions: int
    oldest_age_versions: int
    most_attempts: int
    tasks: Mapping[str, TaskOutcome]
    bound_course: Mapping[str, int] | None = None
    warm_up_batches: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as plain objects, for ``json.dumps``."""
        return asdict(self)
