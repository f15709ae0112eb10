"""Any order of verbs, crashes, snapshots and resumptions: the ledger agrees with a model of plain dictionaries.

Along every lineage of checkpoints nothing is lost and no group is trained on twice.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from queue_ledgers import HandClock, contents, copied, group, new_ledger, opened, trajectory
from queue_model import LedgerModel
from queue_resuming import resumed

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import EVICTED, LIVE_STATES, State
from pangu_verl.queue.ledger_completion import Completion

LEASES_S = st.floats(0.5, 20.0)


class LedgerMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = Path(self.scratch.name)
        self.clock = HandClock()
        self.ledger = new_ledger(self.folder / "ledger_0.sqlite", self.clock)
        self.model = LedgerModel()
        self.num_admitted = self.num_files = self.step = 0
        self.cuts: list[tuple[Path, int, int, LedgerModel]] = []

    def teardown(self) -> None:
        self.ledger.close()
        self.scratch.cleanup()

    def some(self, data: st.DataObject, *states: State) -> list[str]:
        return data.draw(
            st.lists(st.sampled_from(self.model.keys(*states) or [""]).filter(bool), unique=True, max_size=4)
        )

    @rule(trajectories=st.lists(st.integers(1, 3), min_size=1, max_size=4))
    def admit(self, trajectories: list[int]) -> None:
        groups = [group(self.num_admitted + at, size, self.model.version) for at, size in enumerate(trajectories)]
        self.num_admitted += len(groups)
        self.ledger.admit(groups)
        self.model.admit(groups)

    @precondition(lambda self: self.model.groups or self.model.spent)
    @rule(data=st.data())
    def admit_again(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([*self.model.groups, *self.model.spent]))
        with pytest.raises(RunFailed):
            self.ledger.admit([group(self.num_admitted + 1000), group(int(key[1:]))])

    @precondition(lambda self: self.model.keys(State.WAITING))
    @rule(data=st.data(), duration_s=LEASES_S)
    def lease(self, data: st.DataObject, duration_s: float) -> None:
        keys = self.some(data, State.WAITING)
        self.ledger.lease(keys, self.model.version, "rollout", duration_s)
        self.model.lease(keys, self.clock(), duration_s)

    @rule(limit=st.integers(0, 4), duration_s=LEASES_S)
    def select_and_lease(self, limit: int, duration_s: float) -> None:
        keys = self.model.waiting[:limit]
        taken = self.ledger.select_and_lease(limit, "rollout", duration_s, self.model.version)
        self.model.lease(keys, self.clock(), duration_s)
        assert taken == [self.model.groups[key] for key in keys]

    @precondition(lambda self: self.model.keys(State.RUNNING))
    @rule()
    def finish_all_that_runs(self) -> None:
        due = [
            Completion(key, member, trajectory(self.model.version), self.model.groups[key].attempt)
            for key in self.model.keys(State.RUNNING)
            for member in range(self.model.groups[key].prompt.trajectories)
        ]
        expected = [self.model.complete(*each) for each in due]
        assert self.ledger.complete_many(due) == expected

    @precondition(lambda self: self.model.groups)
    @rule(data=st.data())
    def complete_one(self, data: st.DataObject) -> None:
        found = self.model.groups[data.draw(st.sampled_from(sorted(self.model.groups)))]
        member = data.draw(st.integers(0, found.prompt.trajectories - 1))
        answer = Completion(found.key, member, trajectory(), data.draw(st.integers(0, found.attempt)))
        if found.state == State.WAITING and answer.attempt == found.attempt:
            with pytest.raises(RunFailed, match="not leased"):
                self.ledger.complete(*answer)
        else:
            assert self.ledger.complete(*answer) == self.model.complete(*answer)

    @precondition(lambda self: self.model.keys(State.RUNNING, State.READY))
    @rule(data=st.data())
    def reopen(self, data: st.DataObject) -> None:
        keys = self.some(data, State.RUNNING, State.READY)
        reason = data.draw(st.sampled_from([EVICTED, "lost server"]))
        self.ledger.reopen(keys, reason)
        self.model.reopen(keys, reason)

    @precondition(lambda self: self.model.keys(State.READY))
    @rule(data=st.data())
    def train(self, data: st.DataObject) -> None:
        keys = self.some(data, State.READY)
        assert not self.model.trained & set(keys)
        self.step += 1
        with self.ledger.transaction():
            self.ledger.consume(keys, self.step)
            self.ledger.publish(self.model.version + 1)
        self.model.consume(keys, self.step)
        self.model.version += 1

    @precondition(lambda self: len(self.model.keys(State.READY)) < len(self.model.groups))
    @rule(data=st.data())
    def train_on_what_is_not_ready(self, data: st.DataObject) -> None:
        others = self.model.keys(*(state for state in State if state is not State.READY))
        with pytest.raises(RunFailed, match="cannot be consumed"):
            self.ledger.consume([*self.some(data, State.READY), data.draw(st.sampled_from(others))], self.step + 1)

    @precondition(lambda self: self.model.keys(*LIVE_STATES))
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        keys = self.some(data, *LIVE_STATES)[:1]
        self.ledger.abandon(keys, "tired")
        self.model.abandon(keys)

    @precondition(lambda self: self.model.groups)
    @rule(data=st.data())
    def reprioritise(self, data: st.DataObject) -> None:
        chosen = data.draw(st.dictionaries(st.sampled_from(sorted(self.model.groups)), st.floats(-9, 9), max_size=5))
        self.ledger.reprioritise(chosen)
        self.model.priorities |= chosen

    @rule(by_s=st.floats(-5.0, 30.0))
    def turn_the_clock(self, by_s: float) -> None:
        self.clock.now_s += by_s

    @precondition(lambda self: self.model.keys(*LIVE_STATES))
    @rule(data=st.data(), duration_s=LEASES_S)
    def renew(self, data: st.DataObject, duration_s: float) -> None:
        keys = self.some(data, *LIVE_STATES)
        lost = [key for key in keys if key not in self.model.lease_ends_s]
        assert self.ledger.renew(keys, duration_s) == lost
        self.model.lease_ends_s |= dict.fromkeys(set(keys) - set(lost), self.clock() + duration_s)

    @rule()
    def undo(self) -> None:
        with pytest.raises(RunFailed), self.ledger.transaction():
            self.undone()

    def undone(self) -> None:
        self.ledger.select_and_lease(3, "rollout", 1.0, self.model.version)
        self.ledger.publish(self.model.version + 5)
        self.ledger.consume(["nobody"], 1)

    @rule(now_s=st.floats(0, 1e6))
    def crash(self, now_s: float) -> None:
        self.num_files += 1
        left_behind = copied(self.ledger.path, self.folder / f"ledger_{self.num_files}.sqlite")
        self.ledger.close()
        self.clock = HandClock(now_s)
        self.ledger = opened(left_behind, self.clock)
        self.model.start_leases_anew(now_s)

    @rule(num_ahead=st.integers(0, 1))
    def snapshot(self, num_ahead: int) -> None:
        self.num_files += 1
        folder = self.folder / f"step_{self.num_files}"
        folder.mkdir()
        step = self.step - num_ahead
        mark = self.ledger.snapshot(folder, step)
        self.model.prune(step)
        self.cuts.append((mark, step, self.step, self.model.copy()))

    @precondition(lambda self: self.cuts)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        mark, step, last_step, model = data.draw(st.sampled_from(self.cuts))
        recorded = model.members
        lost = data.draw(st.sets(st.sampled_from(sorted(recorded)), max_size=3)) if recorded else set()
        orphans = data.draw(st.sets(st.sampled_from([("g0", 9), ("nobody", 0)])))
        beyond = self.model.trained
        self.ledger.close()
        self.clock = HandClock()
        held = (recorded - lost) | orphans
        self.ledger, resumption = resumed(mark, self.ledger.path, step, held, clock=self.clock)
        self.model, self.step = model.copy(), last_step
        self.model.resume(step, recorded - lost)
        assert resumption.orphans == tuple(sorted(orphans))
        assert resumption.reopened == len(beyond - self.model.trained)
        assert resumption.regenerated_trajectories == len(lost)
        assert resumption.kept_trajectories == len(self.model.members)
        assert (resumption.waiting, resumption.ready) == (
            len(self.model.waiting),
            len(self.model.keys(State.READY)),
        )

    @invariant()
    def agrees_with_the_model(self) -> None:
        if not hasattr(self, "ledger"):
            return
        assert contents(self.ledger) == self.model.groups
        assert self.ledger.counts() == self.model.counts()
        assert self.ledger.version == self.model.version
        assert [each.key for each in self.ledger.waiting(10_000)] == self.model.waiting
        ended = [key for key in self.model.keys(State.RUNNING) if self.model.lease_ends_s[key] <= self.clock()]
        assert self.ledger.expired() == ended


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
