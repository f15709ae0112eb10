"""The policy version: how many times the trainer has published weights.

Invariant: it only grows, by one, and no token comes from a version that was never published or is older than its group.
"""

from __future__ import annotations

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import Group, Trajectory


class VersionClock:
    """Counts publications, and measures lags against them."""

    def __init__(self, version: int = 0) -> None:
        if version < 0:
            raise ValueError(f"a policy version is 0 or more, not {version}")
        self.version = version

    def publish(self) -> int:
        """The trainer's weights are out; returns their version."""
        self.version += 1
        return self.version

    def check(self, trajectory: Trajectory, group: Group) -> None:
        """Raise ``RunFailed`` for segments that no rollout of the started ``group`` can have made.

        Versions grow along a trajectory, from that of the group's start to the present one.
        """
        oldest = group.started_version or 0
        for version, tokens in trajectory.segments:
            if not oldest <= version <= self.version or tokens < 0:
                raise RunFailed(
                    f"group {group.key!r} came back with {tokens} tokens of policy version {version} where versions "
                    f"{oldest} to {self.version} can follow; the rollout server stamps a version that it does not hold"
                )
            oldest = version
