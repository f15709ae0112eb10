"""DAPO's filtering of groups on verl's own buffers, over a queue in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_queue import MadeQueue
from verl.trainer.ppo.v1 import replay_buffer
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from pangu_verl.integrations.verl import judged_groups
from pangu_verl.integrations.verl.judged_groups import filter_by_judged
from pangu_verl.integrations.verl.replay_buffer import prompt_replay_buffer

#: Members of a group: what each was scored, None where it could not be judged.
Groups = Mapping[str, list[float | None]]


@contextmanager
def queue_of(groups: Groups) -> Iterator[MadeQueue]:
    queue = MadeQueue()
    for group, scores in groups.items():
        for session, score in enumerate(scores):
            reward = {"judged": score is not None, "score": score}
            queue.add(
                f"{group}_{session}_0",
                rm_scores=torch.tensor([0.0, score or 0.0]),
                extra_fields={"reward_extra_info": reward},
            )
    with pytest.MonkeyPatch.context() as patch:
        for module in (replay_buffer, judged_groups):
            patch.setattr(module, "tq", queue)
        yield queue


def buffer_of(groups: Groups, *, metric: str | None = "reward", mode: str = "sync") -> Any:
    """A buffer of verl that has seen the groups as finished."""
    kind = ReplayBuffer if mode == "sync" else ReplayBufferAsync
    made = kind(
        trainer_mode=mode,
        trainer_config={},
        max_off_policy_threshold=None,
        max_off_policy_strategy="drop",
        sampler_kwargs={},
        refill_fn=lambda count: None,
        filter_groups_metric=metric,
    )
    made = filter_by_judged(made)
    made.finished_keys["train"] = set(groups)
    for group, scores in groups.items():
        made.partitions["train"] |= {f"{group}_{session}_0": {} for session in range(len(scores))}
    return made


def filtered(groups: Groups, **options: Any) -> set[str]:
    with queue_of(groups):
        found, _ = buffer_of(groups, **options)._dapo_filtered_keys("train")
    return set(found)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.dictionaries(
        st.sampled_from("abcd"),
        st.lists(st.none() | st.integers(0, 2).map(lambda eighths: eighths / 8), min_size=1, max_size=4),
        max_size=4,
    ),
    metric=st.sampled_from(["reward", "score"]),
    mode=st.sampled_from(["sync", "colocate_async"]),
)
def test_a_group_is_filtered_if_its_judged_members_are_alike(groups: Groups, metric: str, mode: str) -> None:
    judged = {group: [score for score in scores if score is not None] for group, scores in groups.items()}
    alike = {group for group, scores in judged.items() if len(scores) > 1 and float(np.std(scores)) == 0.0}
    assert filtered(groups, metric=metric, mode=mode) == alike


def test_a_placeholder_neither_fills_nor_breaks_a_group() -> None:
    assert filtered({"a": [0.0, None, 0.5], "b": [0.0, None, 0.0], "c": [1.0, None, 1.0]}) == {"b", "c"}


def test_verl_is_told_which_reward_the_filtered_groups_share() -> None:
    groups = {"a": [1.0, None, 1.0]}
    with queue_of(groups):
        assert buffer_of(groups)._dapo_filtered_keys("train")[1] == {1.0: 1}


def test_a_second_look_comes_to_the_same_and_the_buffer_still_knows_all_members() -> None:
    groups: Groups = {"a": [1.0, None, 1.0], "b": [None, None], "c": [0.0, 1.0]}
    with queue_of(groups):
        buffer = buffer_of(groups)
        looks = [buffer._dapo_filtered_keys("train")[0] for _ in range(2)]
        assert looks == [{"a"}, {"a"}]
        assert len(buffer.partitions["train"]) == 7


def test_the_buffer_knows_all_members_after_verl_has_refused_some() -> None:
    groups = {"a": [1.0, None, 1.0]}
    with queue_of(groups):
        buffer = buffer_of(groups, metric="accuracy")
        with pytest.raises(RuntimeError, match="missing DAPO metric 'accuracy'"):
            buffer._dapo_filtered_keys("train")
        assert len(buffer.partitions["train"]) == 3


def test_a_buffer_that_filters_nothing_is_left_as_it_is() -> None:
    assert "_dapo_filtered_keys" not in vars(buffer_of({}, metric=None))
    options = {"trainer_config": {}, "max_off_policy_threshold": None, "max_off_policy_strategy": "drop"}
    own = prompt_replay_buffer(trainer_mode="sync", sampler_kwargs={}, **options)
    assert "_dapo_filtered_keys" not in vars(filter_by_judged(own))


def test_a_strangers_buffer_is_left_as_it_is() -> None:
    stranger = object()
    assert filter_by_judged(stranger) is stranger


def test_validation_is_never_filtered() -> None:
    assert buffer_of({})._dapo_filtered_keys("val") == (set(), {})
