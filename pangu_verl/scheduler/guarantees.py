"""What a scheduler promises under given settings, as numbers with their formulas.

Invariant: each number is derived from settings and policy alone, before anything has run; tests hold runs to them. The
proofs are where the mechanisms are: policies (lag), ``deadlines`` (credits), ``queue.priority`` (age).
"""

from __future__ import annotations

from dataclasses import dataclass

from pangu_verl.queue.priority import maximum_age_steps
from pangu_verl.scheduler.settings import SchedulerSettings


@dataclass(frozen=True, slots=True)
class Guarantees:
    """Derived from ``settings``."""

    settings: SchedulerSettings

    @property
    def most_lag_versions(self) -> int:
        """s, the largest of the tasks': no token of a larger lag is trained on."""
        return max(self.settings.bound_versions, *self.settings.task_bounds.values(), 0)

    @property
    def most_started_groups(self) -> int:
        """Groups that run or are ready: min(window, (s + 1) x groups per version).

        Under a policy that masks nothing: where tokens are masked there are no deadlines, and the window alone holds.
        """
        largest = self.settings.largest_window_groups
        return min(self.settings.window_groups or largest, largest)

    @property
    def most_passed_over_steps(self) -> int:
        """Steps that a ready group is passed over by priority: floor((L + W - 1) / B), L the other started groups.

        With one bound for all tasks: the deadlines of a tighter task go first, and then (s + 1) x steps per version is
        the limit. Each return of an older group to be generated anew counts again.
        """
        window = self.settings.overtaking_groups or self.settings.batch_groups
        return maximum_age_steps(self.most_started_groups - 1, window, self.settings.batch_groups)

    def least_wait_step_s(self, longest_s: float, train_s: float) -> float:
        """Under ``wait`` with a longest trajectory of ``longest_s`` in every version: (L + t) / (s + 1) a step."""
        return (longest_s + train_s) / (self.most_lag_versions + 1)
