"""Our scheduler in the place of verl's ``ReplayBufferAsync``: what is equal, and what differs by design.

Compatible settings, for verl's ``max_off_policy_threshold`` T and its ``max_off_policy_strategy``: the policy of the
strategy's name, ``bound_versions`` = T - 1, ``priority.deadline_slack`` = 1 and ``overtaking_groups`` above any number
of prompts (the oldest dispatch first); for ``drop``, ``most_evictions`` likewise (nobody is waited for). Then, whatever
finishes, fails and grows old in whichever order:

- equal: whether a step can be had, which prompts it has and in which order, their rows and tags, which generations are
  never trained on, and how many prompts are under way (in verl with T - 1 warm-up batches);
- by design, and nothing else: what verl evicts and replaces by a fresh prompt is generated anew by ours, as the next
  attempt at the same prompt; ours does so as soon as a generation is too old, verl once it has ended and the next step
  is sampled; and under ``wait`` ours also waits where verl would have to train over T at a later step, which it does.

Several steps a version are compared under ``drop`` alone: under ``wait`` ours starts a step as long as a later one of
the same version can still take the straggler.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import transfer_queue as tq
from hypothesis import given, settings
from hypothesis import strategies as st
from real_queue import TRAJECTORIES, ScriptedRollout, buffer_of, empty_queue, feed_of, real_queue
from replay_oracle import ALL, ORACLE, Oracle, SideBySide, listing

from pangu_verl.scheduler.policies import Drop, Wait
from pangu_verl.scheduler.settings import SchedulerSettings

pytestmark = pytest.mark.own_process

DROP = Drop(most_evictions=ALL)
_SETTINGS = settings(max_examples=25, deadline=None, derandomize=True)


@pytest.fixture(scope="module", autouse=True)
def transfer_queue() -> Iterator[None]:
    with real_queue():
        yield


@dataclass(frozen=True, slots=True)
class Round:
    """What ends around a step, as places among what goes on: 0 is the youngest, -1 the oldest.

    ``fails`` end badly; ``ends`` end one after the other, over and over, until the step can be had; ``late`` end while
    it is trained on. ``oldest_version`` is that of their first tokens, where they can have such.
    """

    fails: list[int]
    ends: list[int]
    late: list[int]
    oldest_version: int


# Mostly young ones, so that the others grow old.
_PLACES = st.integers(-1, 3)
_ROUNDS = st.lists(
    st.builds(
        Round,
        fails=st.lists(_PLACES, max_size=1),
        ends=st.lists(st.integers(0, 3), min_size=1, max_size=4),
        late=st.lists(_PLACES, max_size=4),
        oldest_version=st.integers(0, 6),
    ),
    min_size=6,
    max_size=8,
)


def side_by_side(policy: Wait | Drop, bound_versions: int, batch_groups: int = 1, steps: int = 1) -> SideBySide:
    made = SchedulerSettings(
        batch_groups=batch_groups, bound_versions=bound_versions, steps_per_version=steps, overtaking_groups=ALL
    )
    return SideBySide(made, policy)


def at(place: int, both: SideBySide) -> str:
    unended = both.unended()
    return unended[(-1 - place) % len(unended)]


def play(both: SideBySide, rounds: list[Round]) -> None:
    """A step is asked for after every end, so both say each time whether it can be had."""
    for number, done in enumerate(rounds, start=1):
        for place in done.fails:
            if both.unended():
                both.fail(at(place, both), sessions=place % TRAJECTORIES)
        for place in itertools.cycle(done.ends):
            if both.sample():
                break
            both.finish(at(place, both), done.oldest_version)
        for place in done.late:
            if both.unended():
                both.begin(at(place, both))
                both.finish(at(place, both), done.oldest_version)
                both.look()
        if number % both.settings.steps_per_version == 0:
            both.publish()
        both.check_number_under_way()


@_SETTINGS
@given(rounds=_ROUNDS, bound_versions=st.integers(0, 2), batch_groups=st.integers(1, 2), steps=st.integers(1, 2))
def test_dropping_selects_and_evicts_as_verl_does(
    rounds: list[Round], bound_versions: int, batch_groups: int, steps: int
) -> None:
    play(side_by_side(DROP, bound_versions, batch_groups, steps), rounds)


@_SETTINGS
@given(rounds=_ROUNDS, bound_versions=st.integers(0, 3), batch_groups=st.integers(1, 2))
def test_waiting_selects_as_verl_does_and_waits_earlier_where_verl_would_be_late(
    rounds: list[Round], bound_versions: int, batch_groups: int
) -> None:
    play(side_by_side(Wait(), bound_versions, batch_groups), rounds)


def test_prompts_start_at_the_steps_at_which_verl_sends_them() -> None:
    """verl: T - 1 warm-up batches and one at the first step, then one a step (trainer_base.py, prepare_step)."""
    both = side_by_side(Wait(), bound_versions=2, batch_groups=2)
    for _ in range(3):
        for uid in both.unended():
            both.finish(uid)
        assert both.sample()
        both.publish()
    assert Counter(both.rollout.steps.values()) == {1: 3 * 2, 2: 2, 3: 2, 4: 2}


def test_what_verl_evicts_and_replaces_ours_generates_anew() -> None:
    both = side_by_side(DROP, bound_versions=1)
    for uid in ("p1.0", "p2.0"):
        both.finish(uid)
        both.sample()
        both.publish()
    assert both.is_given_up("p0.0")
    assert "p0.1" in both.unended()
    both.finish("p0.0")
    assert both.sample() is None
    assert both.oracle.refilled == 1
    assert not any(name.startswith("p0.0") for name in listing(ORACLE))


def test_a_prompt_that_was_begun_anew_is_as_old_as_its_last_start() -> None:
    both = side_by_side(DROP, bound_versions=2)
    both.finish("p1.0")
    both.sample()
    both.publish()
    both.fail("p0.0")
    for uid in ("p0.1", "p2.0"):
        both.finish(uid)
    found = both.sample()
    assert found is not None
    assert found.uids == ["p2.0"]


def test_a_straggler_is_given_up_as_often_as_verl_evicts_without_a_step_waiting() -> None:
    both = side_by_side(DROP, bound_versions=1)
    for _ in range(6):
        both.finish(both.unended()[-1])
        assert both.sample()
        both.publish()
    assert both.scheduler.live["p0"].evictions > 1


def test_verl_trains_over_its_threshold_where_ours_waits() -> None:
    both = side_by_side(Wait(), bound_versions=2)
    both.finish("p0.0")
    assert both.sample()
    both.publish()
    both.finish("p3.0")
    assert both.sample() is None  # of p1 and p2 one would be left to the step after their last
    selected = []
    for step, ends in ((2, []), (3, ["p1.0", "p2.0"]), (4, [])):
        for uid in ends:
            both.finish(uid)
        both.oracle.sample(step, ORACLE, 1)
        selected += both.oracle.selected
    assert selected == ["p3.0", "p1.0", "p2.0"]
    sent = both.rollout.steps["p2.0"]
    threshold = both.oracle.max_off_policy_threshold
    assert threshold is not None
    assert 4 - sent + 1 == threshold + 1


def test_rows_come_group_by_group_where_verl_gives_them_as_they_arrived() -> None:
    both = side_by_side(Wait(), bound_versions=0, batch_groups=2)
    for uid in ("p1.0", "p0.0"):
        both.finish(uid)
    found = both.sample()
    assert found is not None
    assert [row.split("_")[0] for row in found.our_rows] == ["p0.0", "p0.0", "p1.0", "p1.0"]
    assert [row.split("_")[0] for row in found.their_rows] == ["p1.0", "p1.0", "p0.0", "p0.0"]


def test_verls_counts_of_what_was_evicted_have_counterparts() -> None:
    """verl's spans and stalenesses of trajectories are computed by its trainer, from the tags of the rows."""
    both = side_by_side(DROP, bound_versions=1)
    for uid in ("p1.0", "p2.0"):
        both.finish(uid)
        both.sample()
        both.publish()
    both.finish("p0.0")
    both.fail(both.unended()[0])
    both.finish(both.unended()[-1])
    found = both.sample()
    assert found is not None
    # verl calls what is not its training partition validation.
    theirs = {name.removeprefix("validation/"): value for name, value in found.their_metrics.items()}
    assert theirs == {
        "off_policy/evicted_samples": 1,
        "off_policy/evicted_samples_staleness/mean": 3.0,
        "off_policy/evicted_samples_staleness/max": 3.0,
        "off_policy/evicted_samples_staleness/min": 3.0,
        "rollout_failure/evicted_samples": 1,
    }
    assert found.our_metrics["scheduler/evicted_so_far/max"] == 1
    assert found.our_metrics["scheduler/restarted_prompts_so_far/max"] == 1


@pytest.mark.parametrize("strategy", ["drop", "wait"])
def test_validation_is_sampled_by_verls_own_rule(strategy: str) -> None:
    empty_queue()
    ours, theirs = buffer_of(feed_of(ScriptedRollout())), Oracle(2, strategy)
    samples = []
    for buffer in (ours, theirs):
        put_validation()
        batch, metrics = buffer.sample(5, "val", 2)
        samples.append((batch.keys, batch.tags, metrics))
        tq.kv_clear(keys=batch.keys, partition_id="val")
    assert samples[0] == samples[1]


def put_validation() -> None:
    for uid, status in (("p0.0", "finished"), ("p1.0", "failure")):
        tq.kv_put(key=uid, partition_id="val", tag={"is_prompt": True, "status": status, "global_steps": 5})
        tq.kv_put(key=f"{uid}_0_0", partition_id="val", tag={"status": "success", "seq_len": 3})
