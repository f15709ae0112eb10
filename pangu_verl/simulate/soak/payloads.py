"""The payloads of a soak, where a run has TransferQueue: what stands for each response, and what goes wrong with it.

Invariants: a payload is there before its trajectory is recorded, and stays until the step that trained on it is over;
what an attempt left behind never replaces what a later one made. Losses are drawn from the seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from pangu_verl.errors import RunFailed
from pangu_verl.scheduler.batch import Batch
from pangu_verl.simulate.soak.checkpoint import Name, Payload

#: Of the payloads in a checkpoint, the share that turns out to be gone.
LOST_SHARE = 0.02


class Payloads:
    """Held in memory, as the storage of a data plane is; a checkpoint takes a copy."""

    def __init__(self, held: Mapping[Name, Payload], draws: np.random.Generator) -> None:
        self._held = dict(held)
        self._draws = draws

    def put(self, key: str, member: int, payload: Payload) -> None:
        self._held[key, member] = payload

    def check(self, batch: Batch) -> None:
        """Raise ``RunFailed`` where a step would train on a trajectory whose payload is not there, or is another's."""
        for entry in batch.groups:
            for member, trajectory in entry.group.finished.items():
                payload = self._held.get((entry.group.key, member))
                if payload is None or payload.tokens != trajectory.tokens:
                    raise RunFailed(
                        f"step {batch.step} was given trajectory {member} of group {entry.group.key!r} with "
                        f"{trajectory.tokens} tokens, but its payload is {payload}; ledger and payloads are of two cuts"
                    )

    def purge(self, key: str, trajectories: int, attempt: int | None = None) -> int:
        """Delete a group's payloads, with ``attempt`` only those of it and of earlier ones. Returns their tokens."""
        names = [(key, member) for member in range(trajectories)]
        gone = [name for name in names if name in self._held and self._is_of(name, attempt)]
        return sum(self._held.pop(name).tokens for name in gone)

    def discard(self, names: Iterable[Name]) -> None:
        for name in names:
            del self._held[name]

    def copy_with_losses(self) -> dict[Name, Payload]:
        kept = self._draws.random(len(self._held)) >= LOST_SHARE
        return {name: self._held[name] for name, is_kept in zip(self._held, kept, strict=True) if is_kept}

    def _is_of(self, name: Name, attempt: int | None) -> bool:
        return attempt is None or self._held[name].attempt <= attempt
