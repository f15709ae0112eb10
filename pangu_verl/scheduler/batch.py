"""What one training step is given: whole groups, and for each trajectory how many of its first tokens are only context.

Invariant: every token that is not masked has a lag within its group's bound; ``check_bound`` asserts it where data is
consumed. Payloads (token ids, log-probabilities) are not here: they stay in TransferQueue.
"""

from __future__ import annotations

from dataclasses import dataclass

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import Group, Trajectory


@dataclass(frozen=True, slots=True)
class TakenGroup:
    """A group as it is trained on. ``masked_tokens[m]`` leading tokens of trajectory m stay out of the loss."""

    group: Group
    bound_versions: int
    masked_tokens: tuple[int, ...]

    @property
    def trained_tokens(self) -> int:
        return sum(trajectory.tokens for trajectory in self.group.finished.values()) - sum(self.masked_tokens)


@dataclass(frozen=True, slots=True)
class Batch:
    """``step`` counts training steps from 0; ``version`` is the policy version that the step starts from."""

    step: int
    version: int
    groups: tuple[TakenGroup, ...]


def masked_tokens(trajectory: Trajectory, version: int, bound_versions: int) -> int:
    """How many leading tokens of ``trajectory`` are over the bound at ``version``.

    Versions grow along a trajectory, so what is over the bound comes first.
    """
    oldest = version - bound_versions
    return sum(segment.tokens for segment in trajectory.segments if segment.version < oldest)


def taken(group: Group, version: int, bound_versions: int, *, masks: bool) -> TakenGroup:
    """``group`` as a step at ``version`` trains on it; with ``masks`` false nothing is masked."""
    trajectories = [group.finished[member] for member in range(group.prompt.trajectories)]
    masked = [masked_tokens(trajectory, version, bound_versions) if masks else 0 for trajectory in trajectories]
    return TakenGroup(group=group, bound_versions=bound_versions, masked_tokens=tuple(masked))


def check_bound(batch: Batch) -> None:
    """Raise ``RunFailed`` if a token over its group's bound would be trained on."""
    for entry in batch.groups:
        for member, left_out in enumerate(entry.masked_tokens):
            for segment in entry.group.finished[member].segments:
                left_out -= segment.tokens
                if left_out < 0 and batch.version - segment.version > entry.bound_versions:
                    raise RunFailed(
                        f"step {batch.step} would train on tokens of policy version {segment.version} at version "
                        f"{batch.version}, over the bound of {entry.bound_versions} (group {entry.group.key!r}, "
                        f"trajectory {member}); nothing was trained on; call evict() before take(), or mend the policy"
                    )
