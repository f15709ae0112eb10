"""What a scheduler is told: batch, bounds and windows, checked when made.

Invariant: settings that exist can be run. The numbers that the controller may move start here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pangu_verl.errors import WrongUse


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerSettings:
    """``batch_groups`` are trained on in one step, ``steps_per_version`` steps between two publications.

    ``bound_versions`` is s: no token with a larger lag is trained on; ``task_bounds`` holds other values for single
    tasks. ``window_groups`` limits groups that are running or ready (None: as many as the bound allows);
    ``lookahead_groups`` wait to be chosen among; fewer than ``overtaking_groups`` younger groups pass an older one in
    all (1: first come, first served; None: one batch). With ``wave_groups`` so many prompts, a batch at least, are
    admitted at a time and by expected length, rising and falling in turn (``queue.waves``; None: as they come).
    ``task_shares`` are the tasks' target shares of the trained groups, relative to each other, for the priority's term
    of that name. A started group's lease in the ledger ends after ``lease_s`` unless it is renewed (project default).
    """

    batch_groups: int
    bound_versions: int
    steps_per_version: int = 1
    task_bounds: Mapping[str, int] = field(default_factory=dict)
    window_groups: int | None = None
    lookahead_groups: int | None = None
    overtaking_groups: int | None = None
    wave_groups: int | None = None
    task_shares: Mapping[str, float] = field(default_factory=dict)
    lease_s: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("batch_groups", "steps_per_version"):
            if getattr(self, name) < 1:
                raise WrongUse(f"{name} is at least 1, not {getattr(self, name)}")
        for name, bound in [("bound_versions", self.bound_versions), *self.task_bounds.items()]:
            if bound < 0:
                raise WrongUse(f"the staleness bound {name!r} is 0 or more versions, not {bound}")
        if self.window_groups is not None and self.window_groups < self.batch_groups:
            raise WrongUse(
                f"window_groups={self.window_groups} can never fill a batch of {self.batch_groups} groups; "
                f"set it to {self.batch_groups} or more"
            )
        for name in ("lookahead_groups", "overtaking_groups"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise WrongUse(f"{name} is at least 1, not {value}")
        if self.wave_groups is not None and self.wave_groups < self.batch_groups:
            raise WrongUse(
                f"wave_groups={self.wave_groups} is less than a batch of {self.batch_groups} groups, in which order "
                "changes nothing; take several batches, or leave it out"
            )
        for task, share in self.task_shares.items():
            if not 0.0 <= share < math.inf:
                raise WrongUse(f"task_shares[{task!r}] is a finite number of 0 or more, not {share}")
        if not self.lease_s > 0.0:
            raise WrongUse(f"lease_s is above 0 seconds, not {self.lease_s}")

    @property
    def groups_per_version(self) -> int:
        """Groups trained on between two publications: ``batch_groups`` x ``steps_per_version``."""
        return self.batch_groups * self.steps_per_version

    @property
    def largest_window_groups(self) -> int:
        """(s + 1) x groups per version: with more started, some could not be trained on within the bound."""
        return (self.largest_bound_versions + 1) * self.groups_per_version

    @property
    def largest_bound_versions(self) -> int:
        return max(self.bound_versions, *self.task_bounds.values(), 0)

    def bound_of(self, task: str) -> int:
        return self.task_bounds.get(task, self.bound_versions)
