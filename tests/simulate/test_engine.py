"""The event loop: exact times where they can be worked out by hand, and what holds in every run."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate_runs import POLICIES, WrittenTrace, scheduler, small_cluster

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.entries import Group
from pangu_verl.simulate.baselines import AdmissionOnly, OneStepOff, Synchronous, VerlDrop
from pangu_verl.simulate.cluster import Split
from pangu_verl.simulate.engine import Engine, Plan
from pangu_verl.simulate.selection import Selection
from pangu_verl.simulate.tally import StepFacts, Tally
from pangu_verl.simulate.traces import named_trace

HALVES = Split(replicas=4, trainer_devices=4)


def run(trace: WrittenTrace, selection: Selection, *, steps: int, split: Split = HALVES, **cluster: object) -> Tally:
    plan = Plan(trace=trace, cluster=small_cluster(**cluster), split=split, steps=steps)
    return Engine(plan, selection).run()


def test_a_synchronous_step_is_the_rollouts_makespan_and_the_training() -> None:
    trace = WrittenTrace([[10, 20], [30, 40], [5, 5], [5, 60]])
    plan = Plan(
        trace=trace,
        cluster=small_cluster(devices=4),
        split=small_cluster(devices=4).shared(),
        steps=2,
        partial_rollouts=False,
    )
    tally = Engine(plan, Synchronous(batch_groups=2)).run()
    assert [step.train_s for step in tally.steps] == [100 / 40, 75 / 40]
    assert tally.total_s == 40 + 100 / 40 + 60 + 75 / 40


def test_slots_are_filled_as_they_come_free_in_the_order_of_dispatch() -> None:
    tally = run(WrittenTrace([[10, 10], [10, 10], [1, 7]]), Synchronous(3), steps=1, split=Split(2, 6))
    assert tally.steps[0].begin_s == 10 + 10 + 7


def test_one_step_off_overlaps_and_never_mixes_versions() -> None:
    trace = WrittenTrace([[40, 40], [40, 40]])
    plan = Plan(trace=trace, cluster=small_cluster(), split=HALVES, steps=3, partial_rollouts=False)
    tally = Engine(plan, OneStepOff(batch_groups=2)).run()
    assert [step.begin_s for step in tally.steps] == [40, 80, 120]
    assert tally.trained_tokens_by_lag == {0: 160, 1: 320}


def test_a_trajectory_goes_on_across_publications_and_its_tokens_keep_their_versions() -> None:
    """One slot makes 10 tokens for each step, which takes 5 s; the other makes 35 meanwhile."""
    trace = WrittenTrace([[10], [35], [10], [10], [10], [10], [10]])
    tally = run(trace, AdmissionOnly(1, 3), steps=4, split=Split(2, 1), train_tokens_per_s=2.0)
    assert [step.begin_s for step in tally.steps] == [10, 20, 30, 35]
    assert tally.steps[-1].consumed_tokens == 35
    # Version 0 until 15 s, 1 until 25 s, 2 until 35 s: consumed at version 3.
    assert tally.steps[-1].mean_trained_lag == pytest.approx((15 * 3 + 10 * 2 + 10 * 1) / 35)


def test_weights_on_their_way_hold_up_replicas_and_trainer() -> None:
    trace = WrittenTrace([[10, 10]])
    tally = run(trace, Synchronous(1), steps=2, publication_s=3.0)
    assert [step.begin_s for step in tally.steps] == [10, 10 + 0.5 + 3 + 10]


def test_contexts_are_rebuilt_after_a_publication() -> None:
    """The group of 40 is interrupted at 11 s, 11 tokens and a prompt of 9 long."""
    trace = WrittenTrace([[10], [40], [100], [100]], question_tokens=9)
    tally = run(trace, AdmissionOnly(1, 1), steps=2, split=Split(2, 1), prefill_tokens_per_s=10.0)
    assert tally.steps[0].begin_s == pytest.approx(0.9 + 10)
    assert tally.steps[1].begin_s == pytest.approx(0.9 + 40 + (9 + 11) / 10)


def test_a_trajectory_of_which_every_token_is_masked_may_be_left_out_and_a_prefix_is_not() -> None:
    trace = named_trace("heavy", seed=0, num_prompts=600)
    plan = Plan(trace=trace, cluster=small_cluster(devices=32), split=Split(24, 8), steps=20, forwards_masked=False)
    selection = scheduler("mask", batch_groups=4, bound_versions=0, window_groups=8)
    steps = Engine(plan, selection).run().steps
    assert all(step.trained_tokens <= step.forwarded_tokens <= step.consumed_tokens for step in steps)
    assert any(step.trained_tokens < step.forwarded_tokens for step in steps)
    assert any(step.forwarded_tokens < step.consumed_tokens for step in steps)
    assert all(step.train_s == pytest.approx(step.forwarded_tokens / 80) for step in steps)


def test_evicted_groups_are_generated_anew_and_what_they_had_is_counted_as_waste() -> None:
    trace = WrittenTrace([[10], [10], [10], [90]])
    tally = run(trace, scheduler("drop", batch_groups=1, bound_versions=1), steps=12, split=Split(2, 1))
    assert tally.num_dropped_groups > 0 and tally.wasted_tokens > 0
    assert (3, 1) in trace.asked


def test_a_baseline_that_replaces_groups_asks_for_fresh_prompts() -> None:
    trace = WrittenTrace([[10], [10], [10], [90]])
    tally = run(trace, VerlDrop(1, 1, 1), steps=12, split=Split(2, 1))
    assert tally.num_dropped_groups > 0 and tally.wasted_tokens == 90 * tally.num_dropped_groups
    assert {attempt for _, attempt in trace.asked} == {0}


def test_progress_is_told_once_a_step_with_what_was_idle() -> None:
    told: list[StepFacts] = []
    plan = Plan(trace=WrittenTrace([[10, 10]]), cluster=small_cluster(), split=HALVES, steps=3)
    tally = Engine(plan, Synchronous(2)).run(told.append)
    assert told == tally.steps
    assert [step.step for step in told] == [0, 1, 2]
    assert [step.trainer_idle_share for step in told] == pytest.approx([10 / 11] * 3)
    assert [step.rollout_idle_share for step in told] == pytest.approx([1 / 11] * 3)


def test_several_steps_may_share_a_version() -> None:
    plan = Plan(trace=WrittenTrace([[10, 10]]), cluster=small_cluster(), split=HALVES, steps=6, steps_per_version=3)
    assert [step.version for step in Engine(plan, AdmissionOnly(1, 9)).run().steps] == [0, 0, 0, 1, 1, 1]


def test_a_run_that_can_make_no_progress_fails_and_says_where() -> None:
    class Idle(Synchronous):
        def dispatch(self, limit_groups: int) -> list[Group]:
            return []

    for failures in ({}, {"mean_time_between_failures_s": 5.0}):
        with pytest.raises(RunFailed, match="came to rest at version 0 after 0 of 2 steps"):
            run(WrittenTrace([[10]]), Idle(1), steps=2, **failures)


def test_a_plan_without_steps_is_refused() -> None:
    with pytest.raises(WrongUse, match="at least 1, not 0 and 1"):
        Plan(trace=WrittenTrace([[10]]), cluster=small_cluster(), split=HALVES, steps=0)


RUNS = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(sorted(POLICIES)),
        "bound_versions": st.integers(0, 4),
        "sigma": st.sampled_from(["mild", "mid", "heavy"]),
        "seed": st.integers(0, 1_000),
        "batch_groups": st.integers(1, 6),
        "replicas": st.integers(1, 6),
        "publication_s": st.sampled_from([0.0, 700.0]),
        "prefill_tokens_per_s": st.sampled_from([None, 100.0]),
        "mean_time_between_failures_s": st.sampled_from([None, 20_000.0]),
    }
)


@settings(max_examples=60, deadline=None)
@given(RUNS)
def test_in_every_run_the_bound_holds_each_prompt_is_trained_on_once_and_slots_are_never_overfull(
    drawn: dict[str, object],
) -> None:
    cluster = small_cluster(
        devices=16,
        slots_per_device=2,
        decode_tokens_per_s=((1, 2.0), (4, 1.0)),
        devices_per_replica=2,
        restart_s=100.0,
        **{name: drawn[name] for name in ("publication_s", "prefill_tokens_per_s", "mean_time_between_failures_s")},
    )
    batch_groups = int(str(drawn["batch_groups"]))
    plan = Plan(
        trace=named_trace(str(drawn["sigma"]), seed=int(str(drawn["seed"])), num_prompts=100, trajectories=3),
        cluster=cluster,
        split=Split(int(str(drawn["replicas"])), 4),
        steps=8,
        seed=int(str(drawn["seed"])),
    )
    selection = scheduler(
        str(drawn["policy"]), batch_groups=batch_groups, bound_versions=int(str(drawn["bound_versions"]))
    )
    tally = Engine(plan, selection).run()
    assert tally.num_violations == 0
    assert max(tally.trained_tokens_by_lag) <= int(str(drawn["bound_versions"]))
    assert tally.groups_by_age.total() == 8 * batch_groups
    assert tally.busy_slot_s <= tally.slots * tally.total_s * (1 + 1e-9)
    assert tally.trained_tokens_by_lag.total() == sum(step.trained_tokens for step in tally.steps)
    ends = [step.begin_s + step.train_s for step in tally.steps]
    assert all(end <= after.begin_s + 1e-6 for end, after in zip(ends, tally.steps[1:], strict=False))


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_the_same_plan_gives_the_same_run(policy: str) -> None:
    def steps() -> list[StepFacts]:
        plan = Plan(
            trace=named_trace("mid", seed=1, num_prompts=400),
            cluster=small_cluster(devices=32, mean_time_between_failures_s=90_000.0, restart_s=50.0),
            split=Split(20, 12),
            steps=20,
        )
        return Engine(plan, scheduler(policy, batch_groups=4, bound_versions=2)).run().steps

    assert steps() == steps()
