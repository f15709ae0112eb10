"""Attempts that run, rest and hang, on a clock that stands still."""

from __future__ import annotations

from pangu_verl.integrations.verl.scheduling.attempts import RESTS_S, Attempts, AwakeClock

LEASE_S = 100.0


class Now:
    s = 0.0

    def __call__(self) -> float:
        return self.s


def test_what_runs_longer_than_its_lease_hangs_and_is_given_out_once() -> None:
    now = Now()
    attempts = Attempts(LEASE_S, now)
    attempts.start(("a", 0))
    now.s = 50.0
    attempts.start(("b", 0))
    now.s = 100.0
    assert attempts.hung() == [("a", 0)]
    assert attempts.hung() == []
    now.s = 150.0
    assert attempts.hung() == [("b", 0)]


def test_what_has_ended_does_not_hang() -> None:
    now = Now()
    attempts = Attempts(LEASE_S, now)
    attempts.start(("a", 0))
    attempts.end(("a", 0))
    attempts.end(("a", 0))
    now.s = LEASE_S
    assert attempts.hung() == []


def test_a_prompt_rests_after_each_failure_but_the_last() -> None:
    now = Now()
    attempts = Attempts(LEASE_S, now)
    for number, rest_s in enumerate(RESTS_S):
        assert attempts.rests(("a", number))
        now.s += rest_s - 0.1
        assert attempts.rested() == []
        now.s += 0.2
        assert attempts.rested() == [("a", number)]
        assert attempts.rested() == []
    assert not attempts.rests(("a", len(RESTS_S)))
    assert attempts.rests(("a", 0))


def test_a_success_between_failures_begins_the_count_anew() -> None:
    attempts = Attempts(LEASE_S, Now())
    for _ in range(3 * len(RESTS_S)):
        assert attempts.rests(("a", 0))
        attempts.succeeded("a")


def test_no_lease_runs_while_servers_stand_still() -> None:
    now = Now()
    clock = AwakeClock(now)
    attempts = Attempts(LEASE_S, clock)
    attempts.start(("a", 0))
    with clock.stopped():
        now.s += 70.0
        with clock.stopped():
            now.s += 70.0
        now.s += 70.0
        assert attempts.hung() == []
    now.s += LEASE_S - 1.0
    assert attempts.hung() == []
    now.s += 1.0
    assert attempts.hung() == [("a", 0)]
