"""Where a run's time goes, told on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pangu_verl.integrations.verl.scheduling.rollout.notices import Began, Ended, Settled
from pangu_verl.integrations.verl.scheduling.timekeeping import MOST_REPLICAS_NAMED, Phase, Timekeeper
from pangu_verl.queue.entries import Group, Prompt, Segment, Trajectory
from pangu_verl.scheduler.batch import Batch, taken
from pangu_verl.scheduler.timeline import TIMELINE_NAME
from pangu_verl.scheduler.timeline_reading import read_timeline


def made_group(segments: tuple[tuple[int, int], ...]) -> Group:
    """With one finished trajectory."""
    trajectory = Trajectory(tuple(Segment(*segment) for segment in segments))
    return Group(Prompt(key="p", task="any", trajectories=1), 0, 0, finished={0: trajectory})


class Now:
    s = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def keeper(tmp_path: Path, now: Now) -> Timekeeper:
    path = tmp_path / TIMELINE_NAME
    return Timekeeper(
        path,
        mode="pangu_ssp",
        policy="mask",
        bound_versions=1,
        slots_per_replica=2,
        device_shares=(0.75, 0.25),
        clock=now,
    )


@pytest.fixture
def step(keeper: Timekeeper, now: Now) -> Callable[[int], None]:
    """A second of other things, three of waiting, five of computing, one of publication."""

    def play(number: int) -> None:
        for seconds, phase in ((1, Phase.WAITING), (3, Phase.COMPUTING), (5, Phase.PUBLISHING), (1, Phase.OTHER)):
            now.s += seconds
            version = number - 1 if phase is not Phase.OTHER else number
            keeper.enters(phase, step=number, version=version)

    return play


def test_the_shares_of_the_trainers_phases_sum_to_one(keeper: Timekeeper, step: Callable[[int], None]) -> None:
    step(1)
    found = keeper.metrics(["a", "b"])
    assert {
        name: found[f"scheduler/trainer_{name}_share"] for name in ("waiting", "computing", "publishing", "other")
    } == {
        "waiting": 0.3,
        "computing": 0.5,
        "publishing": 0.1,
        "other": 0.1,
    }


def test_shares_are_those_since_the_last_reading(keeper: Timekeeper, now: Now, step: Callable[[int], None]) -> None:
    step(1)
    keeper.metrics(["a", "b"])
    now.s += 4
    keeper.enters(Phase.WAITING, step=2, version=1)
    assert keeper.metrics(["a", "b"])["scheduler/trainer_other_share"] == 1.0


def test_a_server_is_idle_while_no_request_is_with_it(keeper: Timekeeper, now: Now) -> None:
    keeper.noted([Began("a", 1001.0), Began("a", 1002.0), Settled("p0.0"), Began("b", 1000.0)])
    keeper.noted([Ended("a", 0, 7, 1001.0, 1005.0), Ended("a", 0, 3, 1002.0, 1004.0)])
    now.s = 1010.0
    found = keeper.metrics(["a", "b"])
    assert found["scheduler/replica_idle_share/a"] == pytest.approx(0.6)
    assert found["scheduler/replica_idle_share/b"] == 0.0
    assert found["scheduler/replica_idle_share/mean"] == pytest.approx(0.3)
    assert found["scheduler/replica_occupied_share/a"] == pytest.approx((4 + 2) / 20)
    assert found["scheduler/replica_occupied_share/b"] == pytest.approx(0.5)


def test_the_share_of_the_ceiling_is_the_time_that_devices_which_are_never_idle_would_take(
    keeper: Timekeeper, now: Now, step: Callable[[int], None]
) -> None:
    """Of 10 s the trainer computes 5; both slots of the one server are taken for 6 s, a quarter of it for nothing."""
    keeper.noted([Began("a", 1001.0), Ended("a", 0, 30, 1001.0, 1007.0)] * 2)
    keeper.noted([Began("a", 1007.0), Ended("a", 0, 20, 1007.0, 1007.0)])
    entry = taken(made_group(((0, 15), (1, 45))), 1, 0, masks=True)
    keeper.consumed(Batch(step=0, version=1, groups=(entry,)))
    step(1)
    found = keeper.metrics(["a"])
    assert found["scheduler/ceiling_share"] == pytest.approx(0.75 * 0.6 * 60 / 80 + 0.25 * 0.5)
    assert found["scheduler/fresh_token_share"] == pytest.approx(found["scheduler/ceiling_share"] * 45 / 60)
    assert found["scheduler/generated_tokens/sum"] == 80.0


def test_time_of_requests_that_were_given_up_is_not_work(
    keeper: Timekeeper, now: Now, step: Callable[[int], None]
) -> None:
    """Both slots for 6 s, one of them for nothing."""
    keeper.noted([Began("a", 1001.0)] * 2)
    keeper.noted([Ended("a", 0, 30, 1001.0, 1007.0), Ended("a", None, 0, 1001.0, 1007.0)])
    keeper.consumed(Batch(step=0, version=1, groups=(taken(made_group(((1, 30),)), 1, 0, masks=True),)))
    step(1)
    assert keeper.metrics(["a"])["scheduler/ceiling_share"] == pytest.approx(0.75 * 0.3 + 0.25 * 0.5)


def test_a_step_without_any_server_has_no_share_of_the_ceiling(keeper: Timekeeper, step: Callable[[int], None]) -> None:
    keeper.noted([Began("a", 1001.0), Ended("a", 0, 30, 1001.0, 1007.0)])
    keeper.consumed(Batch(step=0, version=1, groups=(taken(made_group(((1, 30),)), 1, 0, masks=True),)))
    step(1)
    assert "scheduler/ceiling_share" not in keeper.metrics([])


def test_the_phase_that_goes_on_counts_up_to_now(keeper: Timekeeper, now: Now) -> None:
    keeper.enters(Phase.COMPUTING, step=1, version=0)
    now.s += 4
    assert keeper.metrics([])["scheduler/trainer_computing_share"] == 1.0


def test_a_step_without_tokens_has_no_share_of_the_ceiling(keeper: Timekeeper, step: Callable[[int], None]) -> None:
    step(1)
    assert "scheduler/ceiling_share" not in keeper.metrics(["a", "b"])


def test_a_server_that_nothing_was_heard_of_was_idle_and_a_lost_one_is_left_out(keeper: Timekeeper, now: Now) -> None:
    keeper.noted([Began("lost", 1001.0)])
    now.s = 1010.0
    found = keeper.metrics(["a", "b"])
    assert found["scheduler/replica_idle_share/mean"] == 1.0
    assert "scheduler/replica_idle_share/lost" not in found


def test_many_servers_are_not_named_one_by_one(keeper: Timekeeper, now: Now) -> None:
    keeper.noted([Began(f"server {number}", 1000.0) for number in range(MOST_REPLICAS_NAMED + 1)])
    now.s = 1001.0
    servers = [f"server {number}" for number in range(MOST_REPLICAS_NAMED + 1)]
    assert {name for name in keeper.metrics(servers) if "replica_idle" in name} == {
        f"scheduler/replica_idle_share/{what}" for what in ("mean", "min", "max")
    }


def test_the_record_holds_steps_publications_and_requests(
    keeper: Timekeeper, step: Callable[[int], None], tmp_path: Path
) -> None:
    step(1)
    step(2)
    keeper.noted([Began("a", 1001.0), Ended("a", 0, 7, 1001.0, 1005.0)])
    keeper.close()
    timeline = read_timeline(tmp_path / TIMELINE_NAME)
    assert [(each.step, each.version, each.waited_from_s, each.began_s, each.ended_s) for each in timeline.steps] == [
        (1, 0, 1001.0, 1004.0, 1009.0),
        (2, 1, 1011.0, 1014.0, 1019.0),
    ]
    assert [(each.version, each.began_s, each.ended_s) for each in timeline.publications] == [
        (1, 1009.0, 1010.0),
        (2, 1019.0, 1020.0),
    ]
    assert (timeline.sessions[0].run.mode, timeline.sessions[0].run.slots_per_replica) == ("pangu_ssp", 2)
