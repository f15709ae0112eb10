"""The ledger's verbs: what each changes, what it refuses by name, and that a refusal leaves nothing behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from queue_ledgers import admit, contents, finish, group, lease, new_ledger, opened, states, trajectory

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import Group, Prompt, State, Trajectory
from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.ledger_completion import Completion


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with new_ledger(tmp_path / "ledger.sqlite") as made:
        yield made


def test_a_group_is_read_back_as_it_was_written(ledger: Ledger) -> None:
    prompt = Prompt(key="ключ", task="code", trajectories=3, row=7, expected_tokens=812.5, pass_rate=1 / 3)
    ledger.admit([Group(prompt, order=41, admitted_version=5)])
    ledger.lease(["ключ"], 6, "rollout", 1.0)
    ledger.complete("ключ", 2, trajectory(6, reward=None), 0)
    expected = Group(prompt, 41, 5, State.RUNNING, started_version=6, finished={2: trajectory(6, reward=None)})
    assert contents(ledger) == {"ключ": expected}


def test_groups_come_oldest_first_whatever_the_order_of_admission(ledger: Ledger) -> None:
    admit(ledger, [5, 2, 9])
    assert [each.order for each in ledger.groups([State.WAITING])] == [2, 5, 9]


def test_groups_may_be_changed_while_they_are_gone_through(ledger: Ledger) -> None:
    admit(ledger, range(4))
    for each in ledger.groups([State.WAITING]):
        lease(ledger, each.key)
    assert set(states(ledger).values()) == {State.RUNNING}


def test_only_the_last_member_makes_a_group_ready(ledger: Ledger) -> None:
    admit(ledger, [1])
    lease(ledger, "g1")
    assert ledger.complete("g1", 1, trajectory(), 0)
    assert states(ledger) == {"g1": State.RUNNING}
    assert ledger.complete("g1", 0, trajectory(), 0)
    assert states(ledger) == {"g1": State.READY}


def test_a_second_answer_of_the_same_member_is_counted_and_the_first_stays(ledger: Ledger) -> None:
    admit(ledger, [1])
    lease(ledger, "g1")
    answers = [Completion("g1", 0, trajectory(reward=1.0), 0), Completion("g1", 0, trajectory(reward=0.0), 0)]
    assert ledger.complete_many(answers) == [True, False]
    assert contents(ledger)["g1"].finished[0].reward == 1.0
    assert ledger.counters() == {"admitted": 1, "completed": 1, "duplicate": 1}


def test_answers_to_a_whole_group_are_duplicates(ledger: Ledger) -> None:
    finish(ledger, *admit(ledger, [1]))
    assert not ledger.complete("g1", 0, trajectory(), 0)
    ledger.consume(["g1"], 1)
    assert not ledger.complete("g1", 0, trajectory(), 0)
    assert ledger.counters()["duplicate"] == 2


def test_answers_of_an_attempt_that_was_given_up_are_stale(ledger: Ledger) -> None:
    admit(ledger, [1])
    lease(ledger, "g1")
    ledger.reopen(["g1"], "evicted")
    lease(ledger, "g1", version=1)
    assert not ledger.complete("g1", 0, trajectory(), 0)
    assert contents(ledger)["g1"].finished == {}
    assert ledger.counters()["stale"] == 1


def test_answers_to_an_abandoned_group_are_stale(ledger: Ledger) -> None:
    admit(ledger, [1])
    lease(ledger, "g1")
    ledger.abandon(["g1"], "no server took it")
    assert not ledger.complete("g1", 0, trajectory(), 0)


def test_reopening_forgets_the_work_and_keeps_the_place(ledger: Ledger) -> None:
    finish(ledger, *admit(ledger, [1, 2]), version=3)
    ledger.reopen(["g1"], "evicted")
    reopened = contents(ledger)["g1"]
    assert (reopened.state, reopened.attempt, reopened.started_version) == (State.WAITING, 1, None)
    assert (reopened.order, reopened.finished) == (1, {})
    assert ledger.counters()["reopened: evicted"] == 1


def test_the_version_of_a_new_attempt_is_that_of_its_own_start(ledger: Ledger) -> None:
    admit(ledger, [1])
    lease(ledger, "g1", version=3)
    ledger.reopen(["g1"], "lost server")
    lease(ledger, "g1", version=5)
    assert contents(ledger)["g1"].started_version == 5


def test_consuming_is_all_or_nothing(ledger: Ledger) -> None:
    admit(ledger, [1, 2])
    finish(ledger, "g1")
    before = contents(ledger)
    with pytest.raises(RunFailed, match="'g2' is WAITING and cannot be consumed; only READY"):
        ledger.consume(["g1", "g2"], 4)
    assert contents(ledger) == before
    assert "consumed" not in ledger.counters()


def test_a_group_is_consumed_once(ledger: Ledger) -> None:
    finish(ledger, *admit(ledger, [1]))
    ledger.consume(["g1"], 4)
    with pytest.raises(RunFailed, match="'g1' is CONSUMED"):
        ledger.consume(["g1"], 5)
    assert contents(ledger)["g1"].consumed_step == 4


def test_a_group_named_twice_is_refused(ledger: Ledger) -> None:
    finish(ledger, *admit(ledger, [1, 2]))
    with pytest.raises(RunFailed, match="'g2' is to be consumed twice"):
        ledger.consume(["g1", "g2", "g2"], 1)


UNKNOWN_KEY: dict[str, Callable[[Ledger], object]] = {
    "lease": lambda ledger: lease(ledger, "g1", "nobody"),
    "renew": lambda ledger: ledger.renew(["nobody"], 1.0),
    "complete": lambda ledger: ledger.complete("nobody", 0, trajectory(), 0),
    "reopen": lambda ledger: ledger.reopen(["g1", "nobody"], "evicted"),
    "consume": lambda ledger: ledger.consume(["nobody"], 1),
    "abandon": lambda ledger: ledger.abandon(["g1", "nobody"], "tired"),
    "reprioritise": lambda ledger: ledger.reprioritise({"g1": 1.0, "nobody": 2.0}),
}


@pytest.mark.parametrize("verb", UNKNOWN_KEY)
def test_an_unknown_key_is_refused_by_name_and_changes_nothing(ledger: Ledger, verb: str) -> None:
    admit(ledger, [1])
    before = contents(ledger), ledger.counters()
    with pytest.raises(RunFailed, match="no group 'nobody'"):
        UNKNOWN_KEY[verb](ledger)
    assert (contents(ledger), ledger.counters()) == before


@pytest.mark.parametrize(
    ("member", "attempt", "said"), [(2, 0, "members 0..1"), (-1, 0, "members 0..1"), (0, 1, "attempt 1")]
)
def test_an_answer_that_nobody_asked_for_is_refused(ledger: Ledger, member: int, attempt: int, said: str) -> None:
    admit(ledger, [1])
    lease(ledger, "g1")
    with pytest.raises(RunFailed, match=said):
        ledger.complete("g1", member, trajectory(), attempt)


def test_an_answer_to_a_group_that_was_not_leased_is_refused(ledger: Ledger) -> None:
    admit(ledger, [1])
    with pytest.raises(RunFailed, match="not leased"):
        ledger.complete("g1", 0, trajectory(), 0)


def test_one_refused_answer_leaves_nothing_of_its_batch(ledger: Ledger) -> None:
    admit(ledger, [1])
    lease(ledger, "g1")
    with pytest.raises(RunFailed, match="nobody"):
        ledger.complete_many([Completion("g1", 0, trajectory(), 0), Completion("nobody", 0, trajectory(), 0)])
    assert contents(ledger)["g1"].finished == {}


@pytest.mark.parametrize("again", [group(1), Group(Prompt(key="new", task="maths", trajectories=1), 1, 0)])
def test_a_key_or_an_order_is_admitted_once(ledger: Ledger, again: Group) -> None:
    admit(ledger, [1])
    with pytest.raises(RunFailed, match="not new"):
        ledger.admit([group(2), again])
    assert list(states(ledger)) == ["g1"]


def test_a_group_that_runs_already_is_not_admitted(ledger: Ledger) -> None:
    with pytest.raises(RunFailed, match="'g1' is READY"):
        ledger.admit([Group(group(1).prompt, 1, 0, State.READY)])


def test_a_number_that_the_disk_would_change_in_silence_is_refused(ledger: Ledger) -> None:
    admit(ledger, [1])
    lease(ledger, "g1")
    with pytest.raises(RunFailed, match="reward of group 'g1', member 0, is NaN"):
        ledger.complete("g1", 0, Trajectory((), math.nan), 0)
    with pytest.raises(RunFailed, match="priority of group 'g1' is NaN"):
        ledger.reprioritise({"g1": math.nan})
    with pytest.raises(RunFailed, match="NaN for an estimate"):
        ledger.admit([Group(Prompt(key="g2", task="maths", trajectories=1, pass_rate=math.nan), 2, 0)])


def test_an_infinite_priority_is_first(ledger: Ledger) -> None:
    admit(ledger, [1, 2])
    ledger.reprioritise({"g1": 10.0, "g2": math.inf})
    assert [each.key for each in ledger.waiting(1)] == ["g2"]


def test_versions_do_not_go_back(ledger: Ledger) -> None:
    ledger.publish(3)
    with pytest.raises(RunFailed, match="version 2 after 3"):
        ledger.publish(2)
    assert ledger.version == 3


def test_what_waits_is_leased_by_priority_then_by_age(ledger: Ledger) -> None:
    admit(ledger, range(5))
    ledger.reprioritise({"g3": 2.0, "g4": 2.0, "g1": -1.0})
    expected = ["g3", "g4", "g0", "g2", "g1"]
    assert [each.key for each in ledger.waiting(9)] == expected
    taken = ledger.select_and_lease(2, "rollout", 60.0, 7)
    assert [(each.key, each.state, each.started_version) for each in taken] == [
        ("g3", State.RUNNING, 7),
        ("g4", State.RUNNING, 7),
    ]
    assert [each.key for each in ledger.waiting(9)] == expected[2:]


def test_empty_batches_change_nothing(ledger: Ledger) -> None:
    ledger.admit([])
    lease(ledger)
    ledger.consume([], 1)
    assert ledger.complete_many([]) == []
    assert ledger.select_and_lease(8, "rollout", 60.0, 0) == []
    assert ledger.counters() == {}


def test_joined_verbs_are_undone_together(ledger: Ledger) -> None:
    admit(ledger, [1])

    def joined() -> None:
        with ledger.transaction():
            finish(ledger, "g1")
            ledger.publish(9)
            ledger.consume(["g1", "nobody"], 1)

    with pytest.raises(RunFailed, match="no group"):
        joined()
    assert (states(ledger), ledger.version) == ({"g1": State.WAITING}, 0)


def test_a_caught_refusal_undoes_its_transaction_all_the_same(ledger: Ledger) -> None:
    admit(ledger, [1])

    def joined() -> None:
        with ledger.transaction():
            lease(ledger, "g1")
            with pytest.raises(RunFailed):
                ledger.consume(["g1"], 1)

    with pytest.raises(RunFailed, match="nothing of it was kept"):
        joined()
    assert states(ledger) == {"g1": State.WAITING}


def test_an_interrupted_transaction_is_undone_and_the_ledger_goes_on(ledger: Ledger) -> None:
    admit(ledger, [1])

    def interrupted() -> None:
        with ledger.transaction():
            lease(ledger, "g1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert states(ledger) == {"g1": State.WAITING}
    lease(ledger, "g1")


def test_counts_are_by_state(ledger: Ledger) -> None:
    keys = admit(ledger, range(6))
    finish(ledger, *keys[:3])
    ledger.consume(keys[:1], 1)
    ledger.abandon(keys[5:], "tired")
    lease(ledger, keys[3])
    expected = {State.WAITING: 1, State.RUNNING: 1, State.READY: 2, State.CONSUMED: 1, State.ABANDONED: 1}
    assert ledger.counts() == expected


def test_all_of_it_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with new_ledger(path) as ledger:
        finish(ledger, *admit(ledger, [1, 2, 3])[:2], version=4)
        ledger.publish(5)
        ledger.reprioritise({"g3": 2.5})
        before = contents(ledger), ledger.counters(), ledger.version
    with opened(path) as again:
        assert (contents(again), again.counters(), again.version) == before
    assert [each.name for each in tmp_path.iterdir()] == ["ledger.sqlite"]
