"""Where kills are aimed, what a killed worker's payloads are, and how lives are remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_ledgers import group, trajectory
from soak_runs import small_order

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import State
from pangu_verl.scheduler.batch import Batch, taken
from pangu_verl.simulate.soak.checkpoint import Payload
from pangu_verl.simulate.soak.ends import read_ends, write_ends
from pangu_verl.simulate.soak.kills import CHECKPOINT_STEPS, Aim, described_kill, plan_kills
from pangu_verl.simulate.soak.lives import LifeEnd
from pangu_verl.simulate.soak.payloads import Payloads


@given(kills=st.integers(0, 40), seed=st.integers(0, 9))
def test_kills_follow_from_the_seed_rise_and_leave_something_to_go_on_with(kills: int, seed: int) -> None:
    order = small_order(kills=kills, seed=seed)
    planned = plan_kills(order)
    assert planned == plan_kills(order) and len(planned) == kills
    after = [kill.after_samples for kill in planned]
    assert after == sorted(after) and all(0 <= samples <= 0.9 * order.samples for samples in after)
    assert {kill.aim for kill in planned} == set(list(Aim)[:kills])
    assert all(kill.ordinal >= 1 and kill.delay_s >= 0 for kill in planned)


def test_every_step_of_a_checkpoint_is_met_before_one_comes_again() -> None:
    ordinals = [kill.ordinal for kill in plan_kills(small_order(kills=100)) if kill.aim is Aim.CHECKPOINT]
    assert sorted(ordinals) == list(range(1, CHECKPOINT_STEPS + 1))


def test_a_kill_is_described_on_one_line_and_read_back() -> None:
    for kill in plan_kills(small_order()):
        assert described_kill(kill.describe()) == kill and "\n" not in kill.describe()
    assert described_kill("null") is None


def test_ends_of_lives_are_read_as_they_were_written(tmp_path: Path) -> None:
    ends = [
        LifeEnd(life=0, aim=Aim.TRANSACTION, killed="here", is_in_transaction=True, samples=3, seconds=0.5),
        LifeEnd(life=2, aim=None, killed=None, is_in_transaction=False, samples=9, seconds=1.5),
    ]
    assert read_ends(tmp_path / "lives.jsonl") == []
    write_ends(tmp_path / "lives.jsonl", ends)
    assert read_ends(tmp_path / "lives.jsonl") == ends


def payloads(**held: Payload) -> Payloads:
    return Payloads({(key, 0): payload for key, payload in held.items()}, np.random.default_rng(0))


def batch(tokens: int = 107) -> Batch:
    made = group(0, trajectories=1)
    made.state, made.finished = State.READY, {0: trajectory()}
    assert made.finished[0].tokens == tokens
    return Batch(step=3, version=1, groups=(taken(made, 1, 4, masks=False),))


def test_a_payload_of_an_older_attempt_goes_and_a_newer_one_stays() -> None:
    store = payloads(g0=Payload(tokens=5, attempt=0), g1=Payload(tokens=6, attempt=1))
    assert store.purge("g0", 1, attempt=0) == 5
    assert store.purge("g1", 1, attempt=0) == 0
    assert store.purge("g1", 1) == 6
    assert store.purge("g1", 1) == 0


def test_a_step_with_its_payloads_is_accepted() -> None:
    payloads(g0=Payload(tokens=107, attempt=0)).check(batch())


@pytest.mark.parametrize("held", [{}, {"g0": Payload(tokens=106, attempt=0)}])
def test_a_step_without_its_payloads_is_refused(held: dict[str, Payload]) -> None:
    with pytest.raises(
        RunFailed, match="step 3 was given trajectory 0 of group 'g0' with 107 tokens, but its payload is"
    ):
        payloads(**held).check(batch())


def test_of_a_checkpoints_payloads_a_few_are_lost() -> None:
    held = {f"g{number}": Payload(tokens=1, attempt=0) for number in range(1000)}
    kept = payloads(**held).copy_with_losses()
    assert 950 < len(kept) < 1000
