"""Leases on a clock that is turned by hand: they end, are renewed, and cannot be fooled by a clock that jumps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from queue_ledgers import HandClock, admit, finish, lease, new_ledger, opened, states, trajectory

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import State
from pangu_verl.queue.ledger import Ledger


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1000.0)


@pytest.fixture
def ledger(tmp_path: Path, clock: HandClock) -> Iterator[Ledger]:
    with new_ledger(tmp_path / "ledger.sqlite", clock) as made:
        yield made


def test_a_lease_ends_after_its_duration_and_not_before(ledger: Ledger, clock: HandClock) -> None:
    admit(ledger, [1])
    lease(ledger, "g1", duration_s=10.0)
    clock.now_s = 1009.9
    assert ledger.expired() == []
    clock.now_s = 1010.0
    assert ledger.expired() == ["g1"]


def test_an_expired_group_runs_until_it_is_reopened(ledger: Ledger, clock: HandClock) -> None:
    admit(ledger, [1])
    lease(ledger, "g1", duration_s=10.0)
    clock.now_s = 2000.0
    assert states(ledger) == {"g1": State.RUNNING}
    ledger.reopen(ledger.expired(), "expired")
    assert (states(ledger), ledger.expired()) == ({"g1": State.WAITING}, [])


def test_expired_groups_come_oldest_first(ledger: Ledger, clock: HandClock) -> None:
    keys = admit(ledger, range(3))
    for key in reversed(keys):
        lease(ledger, key, duration_s=1.0)
    clock.now_s = 2000.0
    assert ledger.expired() == keys


def test_a_renewed_lease_runs_from_the_renewal(ledger: Ledger, clock: HandClock) -> None:
    admit(ledger, [1, 2])
    lease(ledger, "g1", "g2", duration_s=10.0)
    clock.now_s = 1009.0
    assert ledger.renew(["g1"], 10.0) == []
    clock.now_s = 1015.0
    assert ledger.expired() == ["g2"]


def test_a_renewal_says_which_groups_hold_no_lease_any_more(ledger: Ledger) -> None:
    admit(ledger, [1, 2, 3])
    finish(ledger, "g1")
    lease(ledger, "g2")
    assert ledger.renew(["g1", "g2", "g3"], 5.0) == ["g1", "g3"]


def test_whole_groups_hold_no_lease(ledger: Ledger, clock: HandClock) -> None:
    finish(ledger, *admit(ledger, [1]))
    clock.now_s = 1e9
    assert ledger.expired() == []


def test_an_abandoned_group_holds_no_lease(ledger: Ledger, clock: HandClock) -> None:
    lease(ledger, *admit(ledger, [1]))
    ledger.abandon(["g1"], "tired")
    clock.now_s = 1e9
    assert ledger.expired() == []


def test_a_lease_that_was_undone_does_not_end(ledger: Ledger, clock: HandClock) -> None:
    admit(ledger, [1])

    def undone() -> None:
        with ledger.transaction():
            lease(ledger, "g1", duration_s=1.0)
            ledger.consume(["g1"], 1)

    with pytest.raises(RunFailed):
        undone()
    clock.now_s = 1e9
    assert ledger.expired() == []


def test_a_renewal_reaches_no_disk(ledger: Ledger) -> None:
    admit(ledger, [1])
    lease(ledger, "g1")
    log = ledger.path.with_name("ledger.sqlite-wal")
    before = log.read_bytes()
    ledger.renew(["g1"], 5.0)
    assert log.read_bytes() == before


@pytest.mark.parametrize("restarted_at_s", [0.0, 1e12])
def test_leases_start_anew_in_a_process_whose_clock_is_another(tmp_path: Path, restarted_at_s: float) -> None:
    path = tmp_path / "ledger.sqlite"
    with new_ledger(path, HandClock(5000.0)) as first:
        admit(first, [1])
        lease(first, "g1", duration_s=10.0)
    clock = HandClock(restarted_at_s)
    with opened(path, clock) as again:
        assert again.expired() == []
        clock.now_s += 9.0
        assert again.expired() == []
        clock.now_s += 1.0
        assert again.expired() == ["g1"]


def test_a_clock_that_goes_back_ends_no_lease(ledger: Ledger, clock: HandClock) -> None:
    admit(ledger, [1])
    lease(ledger, "g1", duration_s=10.0)
    clock.now_s = -1e12
    assert ledger.expired() == []
    assert ledger.complete("g1", 0, trajectory(), 0)
