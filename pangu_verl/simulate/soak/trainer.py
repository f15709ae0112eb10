"""The scheduler as a soak's worker drives it: verbs joined into commits, payloads beside them, and answers gone wrong.

Between the engine and the real ``Scheduler`` stands this ``Selection``. It repeats some answers, sends answers of
attempts that were given up, and abandons prompts that lost their server again and again. Invariants: what a step trains
on is committed, and written to the consumption log, before it is handed out; nothing here decides what is trained on.

Joining verbs is sound because a killed worker goes on from its last checkpoint and never from the live ledger; each
checkpoint commits first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import Group, Prompt, Segment, Trajectory
from pangu_verl.queue.ledger import Ledger
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.simulate.soak.checkpoint import Payload
from pangu_verl.simulate.soak.log import ConsumptionLog
from pangu_verl.simulate.soak.payloads import Payloads

VERBS_PER_COMMIT = 64
REPEATED_ANSWER_SHARE = 0.01
LATE_ANSWER_SHARE = 0.2
#: A group that loses its server when it has been begun so often is abandoned.
MOST_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class _GivenUp:
    group: Group
    attempt: int


class Trainer:
    """A ``Selection``. ``on_commit`` is called after each commit, ``on_taken`` once a step's groups are handed out."""

    def __init__(
        self,
        scheduler: Scheduler,
        ledger: Ledger,
        log: ConsumptionLog,
        payloads: Payloads,
        draws: np.random.Generator,
        *,
        on_commit: Callable[[], None],
        on_taken: Callable[[Batch], None],
    ) -> None:
        #: Of this life.
        self.counts: Counter[str] = Counter()
        self._scheduler = scheduler
        self._ledger = ledger
        self._log = log
        self._payloads = payloads
        self._draws = draws
        self._on_commit = on_commit
        self._on_taken = on_taken
        self._open = ExitStack()
        self._joined_verbs = 0
        self._trained: Sequence[Group] = ()
        self._given_up: list[_GivenUp] = []

    @property
    def version(self) -> int:
        return self._scheduler.version

    def capacity(self) -> int:
        return self._scheduler.capacity()

    def admit(self, prompts: Sequence[Prompt]) -> list[Group]:
        self._join()
        return self._scheduler.admit(prompts)

    def dispatch(self, limit_groups: int) -> list[Group]:
        self._join()
        return self._scheduler.dispatch(limit_groups)

    def complete(self, key: str, member: int, trajectory: Trajectory, attempt: int) -> bool:
        self._join()
        self._payloads.put(key, member, Payload(tokens=trajectory.tokens, attempt=attempt))
        is_accepted = self._scheduler.complete(key, member, trajectory, attempt)
        if self._draws.random() < REPEATED_ANSWER_SHARE:
            self._send_unwanted(key, member, trajectory, attempt, "repeated_answers")
        return is_accepted

    def evict(self) -> list[Group]:
        self._join()
        return self._note(self._scheduler.evict(), "evicted_groups")

    def restart(self, keys: Iterable[str]) -> list[Group]:
        self._join()
        groups = self._note(self._scheduler.restart(keys), "restarted_groups")
        for group in groups:
            if group.attempt >= MOST_ATTEMPTS:
                self._scheduler.abandon(group.key, "its servers were lost")
                self.counts["abandoned_groups"] += 1
        return groups

    def take(self) -> Batch | None:
        batch = self._scheduler.take()
        if batch is None:
            return None
        self._payloads.check(batch)
        self.commit()
        self._trained = [entry.group for entry in batch.groups]
        self._log.consumed(batch, self.counts)
        self._on_taken(batch)
        return batch

    def publish(self) -> int:
        self._join()
        version = self._scheduler.publish()
        self.commit()
        self._log.published(version)
        return version

    def end_step(self) -> None:
        """The trainer is done with the payloads of its step."""
        for group in self._trained:
            self._payloads.purge(group.key, group.prompt.trajectories)
        self._trained = ()

    def clear_given_up(self) -> None:
        """Payloads of groups that were given up go, later than the groups; some of their answers arrive only now."""
        self._join()
        for lost in self._given_up:
            group = lost.group
            self.counts["wasted_tokens"] += self._payloads.purge(
                group.key, group.prompt.trajectories, attempt=lost.attempt
            )
            if self._draws.random() < LATE_ANSWER_SHARE:
                late = Trajectory((Segment(self.version, 1),))
                self._send_unwanted(group.key, 0, late, lost.attempt, "late_answers")
        self._given_up = []

    def commit(self) -> None:
        self._joined_verbs = 0
        self._open.close()
        self._on_commit()

    def _join(self) -> None:
        """One more verb of the open transaction, or the first of a new one."""
        if self._joined_verbs >= VERBS_PER_COMMIT:
            self.commit()
        if not self._joined_verbs:
            self._open.enter_context(self._ledger.transaction())
        self._joined_verbs += 1

    def _note(self, groups: list[Group], reason: str) -> list[Group]:
        self._given_up += [_GivenUp(group, group.attempt - 1) for group in groups]
        self.counts[reason] += len(groups)
        return groups

    def _send_unwanted(self, key: str, member: int, trajectory: Trajectory, attempt: int, kind: str) -> None:
        self.counts[kind] += 1
        if self._scheduler.complete(key, member, trajectory, attempt):
            raise RunFailed(
                f"the scheduler took trajectory {member} of group {key!r}, attempt {attempt}, as new: {kind} are none"
            )
