"""What is said of a batch: closed forms on small ones, and what holds for every one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.queue.entries import Group, Prompt, Segment, Trajectory
from pangu_verl.scheduler.batch import Batch, TakenGroup, check_bound, taken
from pangu_verl.scheduler.metrics import (
    batch_metrics,
    task_metrics,
    trained_tokens_by_context_lag,
    trained_tokens_by_lag,
)

Pairs = tuple[tuple[int, int], ...]


def group(key: str, *trajectories: Pairs, task: str = "maths", admitted: int = 0, attempt: int = 0) -> Group:
    """With a finished trajectory for each tuple of (version, tokens)."""
    finished = {
        member: Trajectory(tuple(Segment(*segment) for segment in segments))
        for member, segments in enumerate(trajectories)
    }
    prompt = Prompt(key=key, task=task, trajectories=len(trajectories))
    return Group(prompt, order=0, admitted_version=admitted, attempt=attempt, finished=finished)


def masked_batch(*groups: Group, version: int = 5, bound: int = 1) -> Batch:
    return Batch(step=0, version=version, groups=tuple(taken(each, version, bound, masks=True) for each in groups))


#: At version 5 under bound 1: 3 of 10 tokens masked; all 4 of them; none of 6.
STEP = masked_batch(
    group("a", ((3, 3), (4, 2), (5, 5)), ((2, 4),), admitted=2),
    group("b", ((5, 6),), task="code", admitted=5, attempt=2),
)


def numbers(batch: Batch) -> dict[str, float]:
    """All that is said of a batch."""
    return {**batch_metrics(batch), **task_metrics([batch])}


def test_trained_tokens_are_counted_by_lag() -> None:
    assert trained_tokens_by_lag(STEP) == {1: 2, 0: 11}


def test_the_numbers_of_a_batch_in_closed_form() -> None:
    assert numbers(STEP) == {
        "lag_versions/mean": 2 / 13,
        "lag_versions/max": 1.0,
        "context_lag_versions/mean": 14 / 13,
        "context_lag_versions/max": 2.0,
        "lag_share/0": 11 / 13,
        "lag_share/1": 2 / 13,
        "masked_share": 1 - 13 / 20,
        "wholly_masked_trajectories_share": 1 / 3,
        "trained_tokens/mean": 13 / 3,
        "trained_tokens/code/mean": 6.0,
        "trained_tokens/maths/mean": 3.5,
        "age_versions/mean": 1.5,
        "age_versions/max": 3.0,
        "attempts/max": 3.0,
        "task_share/code": 0.5,
        "task_share/maths": 0.5,
    }


def test_a_mask_that_ends_within_a_segment_leaves_its_rest() -> None:
    step = Batch(0, 5, (TakenGroup(group("a", ((4, 6), (5, 4))), 1, (2,)),))
    assert trained_tokens_by_lag(step) == {1: 4, 0: 4}


def test_tokens_of_one_lag_in_several_groups_are_added_up() -> None:
    step = masked_batch(group("a", ((4, 2), (4, 3))), group("b", ((4, 5),)))
    assert trained_tokens_by_lag(step) == {1: 10}


def test_a_batch_that_is_wholly_masked_has_a_lag_of_0() -> None:
    found = numbers(masked_batch(group("a", ((0, 7),))))
    assert found["lag_versions/mean"] == found["lag_versions/max"] == found["trained_tokens/mean"] == 0.0
    assert found["masked_share"] == found["wholly_masked_trajectories_share"] == 1.0


@pytest.mark.parametrize("step", [masked_batch(), masked_batch(group("a", ())), masked_batch(group("a", ((5, 0),)))])
def test_a_batch_without_tokens_has_numbers_all_the_same(step: Batch) -> None:
    found = numbers(step)
    assert all(value == value for value in found.values())
    assert found["masked_share"] == found["lag_versions/mean"] == 0.0


segments = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), max_size=4).map(
    lambda pairs: tuple(sorted(pairs))
)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    groups = [
        group(
            f"g{number}",
            *draw(st.lists(segments, min_size=1, max_size=4)),
            task=draw(st.sampled_from(["maths", "code", "chat"])),
            admitted=draw(st.integers(0, 9)),
            attempt=draw(st.integers(0, 3)),
        )
        for number in range(draw(st.integers(1, 5)))
    ]
    return masked_batch(*groups, version=9, bound=draw(st.integers(0, 9)))


@given(step=batches())
def test_shares_lags_and_sums_hold_for_every_batch(step: Batch) -> None:
    check_bound(step)
    found, lags = numbers(step), trained_tokens_by_lag(step)
    assert all(tokens > 0 for tokens in lags.values())
    assert sum(lags.values()) == sum(entry.trained_tokens for entry in step.groups)
    assert max(lags, default=0) == found["lag_versions/max"] <= step.groups[0].bound_versions
    assert 0.0 <= found["lag_versions/mean"] <= found["lag_versions/max"]
    assert 0.0 <= found["masked_share"] <= 1.0
    assert 0.0 <= found["age_versions/mean"] <= found["age_versions/max"] <= 9.0
    shares = {name: value for name, value in found.items() if name.startswith("task_share/")}
    assert shares == {
        f"task_share/{task}": count / len(step.groups)
        for task, count in Counter(entry.group.task for entry in step.groups).items()
    }


@settings(deadline=None)
@given(step=batches())
def test_each_trained_token_counts_with_the_lag_of_its_trajectorys_first_token(step: Batch) -> None:
    lags, context_lags = [], []
    for entry in step.groups:
        for member, masked in enumerate(entry.masked_tokens):
            segments = entry.group.finished[member].segments
            versions = [segment.version for segment in segments for _ in range(segment.tokens)]
            lags += [step.version - version for version in versions[masked:]]
            context_lags += [step.version - versions[0] for _ in versions[masked:]]
    assert trained_tokens_by_context_lag(step) == Counter(context_lags)
    found = numbers(step)
    assert found["context_lag_versions/max"] == max(context_lags, default=0)
    assert found["context_lag_versions/mean"] == pytest.approx(sum(context_lags) / max(len(context_lags), 1))
    shares = [found[f"lag_share/{lag}"] for lag in range(step.groups[0].bound_versions + 1)]
    assert shares == [lags.count(lag) / max(len(lags), 1) for lag in range(len(shares))]
    assert sum(shares) == pytest.approx(1.0 if lags else 0.0)


@settings(deadline=None)
@given(step=batches())
def test_lengths_are_told_task_by_task(step: Batch) -> None:
    lengths: dict[str, list[int]] = {}
    for entry in step.groups:
        trained = [entry.group.finished[member].tokens - masked for member, masked in enumerate(entry.masked_tokens)]
        lengths.setdefault(entry.group.task, []).extend(trained)
    found = numbers(step)
    for task, tokens in lengths.items():
        assert found[f"trained_tokens/{task}/mean"] == pytest.approx(sum(tokens) / len(tokens))


@given(step=batches())
def test_the_order_of_arrival_changes_no_bit(step: Batch) -> None:
    backwards = tuple(
        replace(entry, group=replace(entry.group, finished=dict(reversed(entry.group.finished.items()))))
        for entry in step.groups
    )
    assert repr(numbers(replace(step, groups=backwards))) == repr(numbers(step))


def test_the_tasks_of_several_batches_are_counted_together() -> None:
    other = masked_batch(group("c", ((5, 9),), ((5, 1),)))
    assert task_metrics([STEP, other]) == {
        "task_share/code": 1 / 3,
        "task_share/maths": 2 / 3,
        "trained_tokens/code/mean": 6.0,
        "trained_tokens/maths/mean": 17 / 4,
    }
