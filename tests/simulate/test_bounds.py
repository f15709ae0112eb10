"""The yardstick of ``bound_share``: no run beats it, and it is met where the best schedule is known."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate_oracle import fastest_s
from simulate_runs import POLICIES, WrittenTrace, scheduler, small_cluster

from pangu_verl.scheduler.batch import Batch
from pangu_verl.simulate.baselines import AdmissionOnly, Synchronous
from pangu_verl.simulate.bounds import least_total_s
from pangu_verl.simulate.cluster import Split
from pangu_verl.simulate.engine import Engine, Plan
from pangu_verl.simulate.tally import StepFacts
from pangu_verl.simulate.traces import named_trace


def step(version: int, *, tokens: int = 0, longest: int = 0, train_s: float = 1.0, masked: int = 0) -> StepFacts:
    """A step whose longest trajectory loses what is masked."""
    return StepFacts(
        step=version,
        version=version,
        begin_s=0.0,
        train_s=train_s,
        forwarded_tokens=tokens,
        consumed_tokens=tokens,
        trained_tokens=tokens - masked,
        longest_trained_tokens=longest - masked,
        longest_tokens=longest,
        mean_trained_lag=0.0,
    )


def least(steps: list[StepFacts], bound: int, slots: int = 4, **cluster: object) -> float:
    return least_total_s(steps, bound, small_cluster(**cluster), Split(slots, 1))


def test_without_rollout_it_is_the_training() -> None:
    assert least([step(version, train_s=3.0) for version in range(5)], 2) == 15.0


@pytest.mark.parametrize("bound", [0, 1, 2, 4])
def test_a_longest_trajectory_in_every_step_gives_the_formula_of_the_anchors(bound: int) -> None:
    num_steps, longest, train_s = 400, 80, 5.0
    steps = [step(version, tokens=longest, longest=longest, train_s=train_s) for version in range(num_steps)]
    per_step_s = least(steps, bound, slots=1_000) / num_steps
    assert per_step_s == pytest.approx(max(train_s, (longest + train_s) / (bound + 1)), rel=0.02)


def test_work_that_fits_into_no_earlier_time_counts_from_when_its_versions_began() -> None:
    steps = [step(0, tokens=4), step(1, tokens=400)]
    assert least(steps, 0) == 1 + 1 + 100 + 1
    assert least(steps, 1) == 101 + 1


def test_masked_tokens_may_be_older_but_have_to_be_made() -> None:
    steps = [step(0, tokens=4, longest=1), step(1, tokens=100, longest=100, masked=90)]
    assert least(steps, 0) == 100 + 1
    assert least([step(0, tokens=4, longest=1), step(1, tokens=100, longest=100)], 0) == 2 + 100 + 1


def test_publications_take_their_time() -> None:
    assert least([step(version) for version in range(3)], 1, publication_s=10.0) == 3 + 20


def test_the_fastest_rates_are_granted() -> None:
    curve = ((1, 2.0), (4, 1.0))
    steps = [step(0, tokens=40, longest=10)]
    assert least(steps, 0, slots=2, slots_per_device=4, decode_tokens_per_s=curve) == 40 / (2 * 4.0) + 1
    assert least([step(0, tokens=20, longest=20)], 0, slots=2, slots_per_device=4, decode_tokens_per_s=curve) == 10 + 1


def test_synchronous_steps_of_one_wave_meet_it() -> None:
    cluster = small_cluster(devices=4)
    plan = Plan(
        trace=WrittenTrace([[10, 50], [20, 30]]),
        cluster=cluster,
        split=cluster.shared(),
        steps=7,
        partial_rollouts=False,
    )
    tally = Engine(plan, Synchronous(2)).run()
    assert least_total_s(tally.steps, 0, cluster, plan.split) == pytest.approx(tally.total_s)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([*sorted(POLICIES), "admission"]),
    st.integers(0, 4),
    st.sampled_from(["mild", "heavy"]),
    st.integers(0, 1_000),
    st.integers(1, 12),
    st.sampled_from([0.0, 200.0]),
)
def test_no_run_beats_it(policy: str, bound: int, sigma: str, seed: int, replicas: int, publication_s: float) -> None:
    cluster = small_cluster(
        devices=16, slots_per_device=2, decode_tokens_per_s=((1, 2.0), (2, 1.5)), publication_s=publication_s
    )
    plan = Plan(
        trace=named_trace(sigma, seed=seed, num_prompts=100, trajectories=3),
        cluster=cluster,
        split=Split(replicas, 16 - replicas),
        steps=12,
    )
    ours = policy != "admission"
    selection = scheduler(policy, batch_groups=3, bound_versions=bound) if ours else AdmissionOnly(3, bound)
    tally = Engine(plan, selection).run()
    granted = max(bound, max(tally.trained_tokens_by_lag))
    assert least_total_s(tally.steps, granted, cluster, plan.split) <= tally.total_s * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 40), min_size=2, max_size=5), min_size=1, max_size=6),
    st.integers(0, 3),
    st.integers(1, 6),
    st.integers(1, 20),
)
def test_it_is_never_above_the_fastest_offline_schedule(
    lengths: list[list[int]], bound: int, slots: int, train_s: int
) -> None:
    steps = [
        step(version, tokens=sum(tokens), longest=max(tokens), train_s=float(train_s))
        for version, tokens in enumerate(lengths)
    ]
    fastest = fastest_s(lengths, [float(train_s)] * len(lengths), bound, slots)
    assert least(steps, bound, slots=slots) <= fastest * (1 + 1e-6)


@pytest.mark.parametrize("bound", [1, 2, 4])
def test_on_a_log_normal_trace_it_is_the_fastest_offline_schedule(bound: int) -> None:
    selection = scheduler("wait", batch_groups=8, bound_versions=bound)
    batches: list[Batch] = []
    take = selection.take

    def remembered() -> Batch | None:
        batch = take()
        batches.extend([batch] if batch else [])
        return batch

    selection.take = remembered  # type: ignore[method-assign]
    cluster = small_cluster(devices=24)
    trace = named_trace("mid", seed=0, num_prompts=200, trajectories=4)
    plan = Plan(trace=trace, cluster=cluster, split=Split(16, 8), steps=15)
    steps = Engine(plan, selection).run().steps
    durations_s = [
        [trajectory.tokens for entry in batch.groups for trajectory in entry.group.finished.values()]
        for batch in batches[: len(steps)]
    ]
    fastest = fastest_s(durations_s, [step.train_s for step in steps], bound, 16)
    assert least_total_s(steps, bound, cluster, plan.split) == pytest.approx(fastest, rel=1e-3)
