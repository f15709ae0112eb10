"""What happened in a run, counted where it happens: every trained token by its lag, every step by its cost.

Invariant: lags are worked out here from the segments, apart from what the selection believes, so that a selection that
breaks its bound is seen to. What the counts mean as shares is in ``shares``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pangu_verl.queue.entries import Group
from pangu_verl.scheduler.batch import Batch, TakenGroup


class StepFacts(NamedTuple):
    """One training step. Times are seconds of simulation; the shares are of the time since the step before ended."""

    step: int
    version: int
    begin_s: float
    train_s: float
    #: Tokens that the trainer went through.
    forwarded_tokens: int
    consumed_tokens: int
    trained_tokens: int
    #: The most trained tokens of one trajectory, and the most tokens of one.
    longest_trained_tokens: int
    longest_tokens: int
    #: Mean lag of the trained tokens, in versions; 0 where every token is masked.
    mean_trained_lag: float
    trainer_idle_share: float = 0.0
    rollout_idle_share: float = 0.0


class Tally:
    """The counts of one run; a *lag* is in policy versions, an *age* in versions since admission."""

    def __init__(self, *, forwards_masked: bool = True) -> None:
        self._forwards_masked = forwards_masked
        self.steps: list[StepFacts] = []
        self.trained_tokens_by_lag: Counter[int] = Counter()
        self.groups_by_age: Counter[int] = Counter()
        self.groups_by_task: Counter[str] = Counter()
        self.trajectories_by_task: Counter[str] = Counter()
        self.trained_tokens_by_task: Counter[str] = Counter()
        self.num_trajectories = 0
        self.num_violations = 0
        self.num_dropped_groups = 0
        self.num_restarted_groups = 0
        self.most_attempts = 0
        #: The greatest age of a group, trained on or still on its way when the run ended.
        self.oldest_age_versions = 0
        #: Tokens that were generated and then given up with their group.
        self.wasted_tokens = 0
        self.total_s = 0.0
        self.train_s = 0.0
        self.busy_slot_s = 0.0
        self.slots = 0
        self._last_end_s = 0.0
        self._last_busy_slot_s = 0.0

    def consume(self, batch: Batch, now_s: float, forwarded_tokens_per_s: float) -> StepFacts:
        """A step begins; returns what it is."""
        consumed = trained = forwarded = longest = longest_trained = lag_sum = 0
        for entry in batch.groups:
            group = entry.group
            lag_sum += self._count_group(entry, batch.version)
            for member, masked in enumerate(entry.masked_tokens):
                tokens = group.finished[member].tokens
                consumed += tokens
                trained += tokens - masked
                forwarded += tokens if masked < tokens or self._forwards_masked else 0
                longest = max(longest, tokens)
                longest_trained = max(longest_trained, tokens - masked)
        return StepFacts(
            step=batch.step,
            version=batch.version,
            begin_s=now_s,
            train_s=forwarded / forwarded_tokens_per_s,
            forwarded_tokens=forwarded,
            consumed_tokens=consumed,
            trained_tokens=trained,
            longest_trained_tokens=longest_trained,
            longest_tokens=longest,
            mean_trained_lag=lag_sum / trained if trained else 0.0,
        )

    def end_step(self, begun: StepFacts, now_s: float, busy_slot_s: float, slots: int) -> None:
        """The step has ended, with ``busy_slot_s`` slot-seconds spent on decoding since the run began."""
        passed_s = now_s - self._last_end_s
        busy_s = busy_slot_s - self._last_busy_slot_s
        self._last_end_s, self._last_busy_slot_s = now_s, busy_slot_s
        self.steps.append(
            begun._replace(
                trainer_idle_share=max(0.0, 1 - begun.train_s / passed_s) if passed_s else 0.0,
                rollout_idle_share=max(0.0, 1 - busy_s / (slots * passed_s)) if passed_s else 0.0,
            )
        )
        self.train_s += begun.train_s
        self.total_s, self.busy_slot_s, self.slots = now_s, busy_slot_s, slots

    def count_left_over(self, groups: Iterable[Group], version: int) -> None:
        """The run has ended with ``groups`` started and not trained on: they may be the ones that starve."""
        for group in groups:
            self._count_age(group, version)

    def _count_age(self, group: Group, version: int) -> None:
        self.most_attempts = max(self.most_attempts, group.attempt + 1)
        self.oldest_age_versions = max(self.oldest_age_versions, version - group.admitted_version)

    def _count_group(self, entry: TakenGroup, version: int) -> int:
        """Returns the sum of the trained tokens' lags."""
        lag_sum = 0
        group = entry.group
        self.groups_by_age[version - group.admitted_version] += 1
        self.groups_by_task[group.task] += 1
        self.trajectories_by_task[group.task] += len(entry.masked_tokens)
        self.num_trajectories += len(entry.masked_tokens)
        self.trained_tokens_by_task[group.task] += entry.trained_tokens
        self._count_age(group, version)
        for member, masked in enumerate(entry.masked_tokens):
            for segment in group.finished[member].segments:
                counted = min(segment.tokens, max(0, segment.tokens - masked))
                masked -= min(segment.tokens, masked)
                if counted:
                    lag = version - segment.version
                    lag_sum += lag * counted
                    self.trained_tokens_by_lag[lag] += counted
                    if lag > entry.bound_versions:
                        self.num_violations += counted
        return lag_sum


def percentile(counts: Mapping[int, int], share: float) -> int:
    """The smallest value that at least ``share`` (0..1) of what was counted does not exceed; 0 where nothing was."""
    left = share * sum(counts.values())
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return max(counts, default=0)
