"""What is trained on where some trajectories could not be judged: verl's trainer, on a queue in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_batches import Row, fill, queue_in_memory, trainer
from made_queue import MadeQueue
from verl.trainer.ppo.core_algos import agg_loss
from verl.trainer.ppo.v1.trainer_base import PPOTrainer

from pangu_verl.errors import RunFailed

EPSILON = 1e-6


@pytest.fixture
def queue() -> Iterator[MadeQueue]:
    with queue_in_memory() as made:
        yield made


def estimate(queue: MadeQueue, rows: Sequence[Row], **options: Any) -> list[float]:
    """The advantage of each row, which has to be the same in all of its tokens."""
    fill(queue, rows)
    batch = trainer(**options)._compute_advantage(queue.batch(), {})
    assert batch.keys == list(queue.rows)
    assert {"advantages", "returns", "response_mask", "loss_mask"} <= set(batch.fields)
    assert all(len(set(values.tolist())) == 1 for values in queue.values("advantages"))
    return [float(values[0]) for values in queue.values("advantages")]


# --- advantages ------------------------------------------------------------------------------------------------------


def by_hand(rows: Sequence[Row], *, by_deviation: bool) -> list[float]:
    """GRPO over judged members: (score - mean) / (deviation + 1e-6), 0 with fewer than two of them."""
    members: dict[int, dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row.judged:
            members[row.group][row.session] = row.score
    found = []
    for row in rows:
        scores = np.array(list(members[row.group].values()))
        if not row.judged or len(scores) < 2:
            found.append(0.0)
        else:
            spread = np.std(scores, ddof=1) + EPSILON if by_deviation else 1.0
            found.append((row.score - np.mean(scores)) / spread)
    return found


@st.composite
def batches(draw: st.DrawFn) -> list[Row]:
    """Groups of sessions of one or two outputs; at least one row is judged. Scores are exact in 32 bits."""
    rows = []
    for group in range(draw(st.integers(1, 3))):
        for session in range(draw(st.integers(1, 4))):
            score, judged = draw(st.integers(0, 8)) / 8, draw(st.booleans())
            for output in range(draw(st.integers(1, 2))):
                rows.append(Row(group, session, score, judged, draw(st.integers(1, 3)), output))
    rows = draw(st.permutations(rows))
    return rows if any(row.judged for row in rows) else [*rows, Row(9, 0, 1.0)]


@settings(max_examples=60, deadline=None)
@given(rows=batches(), by_deviation=st.booleans())
def test_groups_are_compared_by_their_judged_members(rows: list[Row], by_deviation: bool) -> None:
    with queue_in_memory() as queue:
        found = estimate(queue, rows, norm_adv_by_std_in_grpo=by_deviation)
    assert found == pytest.approx(by_hand(rows, by_deviation=by_deviation), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("estimator", ["grpo", "grpo_vectorized", "rloo", "opo", "reinforce_plus_plus_baseline"])
def test_an_unjudged_row_changes_no_advantage_of_the_others(queue: MadeQueue, estimator: str) -> None:
    judged = [Row(0, 0, 1.0), Row(0, 1, 0.0), Row(0, 2, 0.5, tokens=3), Row(1, 0, 0.25), Row(1, 1, 1.0)]
    unjudged = [Row(0, 3, 1.0, judged=False), Row(1, 2, 1.0, judged=False)]
    alone = estimate(queue, judged, adv_estimator=estimator)
    together = estimate(queue, [*unjudged, *judged], adv_estimator=estimator)
    assert together == pytest.approx([0.0, 0.0, *alone], abs=1e-6)


def test_a_batch_in_which_all_is_judged_is_left_to_verl(queue: MadeQueue) -> None:
    rows = [Row(0, 0, 1.0), Row(0, 1, 0.0), Row(1, 0, 0.5), Row(1, 1, 0.5)]
    found = estimate(queue, rows)
    fill(queue, rows)
    made = trainer()
    PPOTrainer._compute_advantage(made, queue.batch(), {})
    assert found == [float(values[0]) for values in queue.values("advantages")]


def test_an_estimator_that_compares_nobody_takes_single_members(queue: MadeQueue) -> None:
    rows = [Row(0, 0, 1.0), Row(0, 1, 0.0, judged=False), Row(1, 0, 0.25), Row(1, 1, 0.5)]
    found = estimate(queue, rows, adv_estimator="reinforce_plus_plus")
    assert found[1] == 0.0
    assert found[0] > found[3] > found[2]


def test_with_one_response_per_prompt_verls_meaning_stays(queue: MadeQueue) -> None:
    rows = [Row(0, 0, 0.5), Row(1, 0, 1.0), Row(2, 0, 1.0, judged=False)]
    assert estimate(queue, rows, n=1) == pytest.approx([0.5, 1.0, 0.0], abs=1e-5)


def test_padding_is_nobodys_member(queue: MadeQueue) -> None:
    fill(queue, [Row(0, 0, 1.0), Row(0, 1, 0.0), Row(0, 2, 1.0, judged=False), Row(7, 0, 0.0, judged=False)])
    queue.tags["group7_0_0"]["is_padding"] = True
    queue.rows["group7_0_0"]["response_mask"].zero_()
    made = trainer()
    made._compute_advantage(queue.batch(), {})
    advantages = [float(values[0]) for values in queue.values("advantages")]
    half = 0.5 / (np.sqrt(0.5) + EPSILON)
    assert advantages == pytest.approx([half, -half, 0.0, 0.0], abs=1e-5)


def test_every_row_has_what_rollout_correction_adds(queue: MadeQueue) -> None:
    fill(queue, [Row(0, s, s / 2, judged=s != 1) for s in range(3)], rollout_log_probs=-1.0, old_log_probs=-0.5)
    correction = {"bypass_mode": False, "rollout_is": "token", "rollout_is_threshold": 2.0}
    trainer(rollout_correction=correction)._compute_advantage(queue.batch(), {})
    assert [tuple(values.shape) for values in queue.values("rollout_is_weights")] == [(2,)] * 3
    assert float(queue.rows["group0_1_0"]["rollout_is_weights"].sum()) == 0.0


# --- the loss --------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(rows=batches(), seed=st.integers(0, 2**16))
def test_unjudged_rows_leave_the_loss(rows: list[Row], seed: int) -> None:
    with queue_in_memory() as queue:
        estimate(queue, rows)
    losses = [torch.rand(row.tokens, generator=torch.Generator().manual_seed(seed)) for row in rows]
    judged = torch.cat([loss for loss, row in zip(losses, rows, strict=True) if row.judged])
    for mask in ("response_mask", "loss_mask"):
        masks = torch.nn.utils.rnn.pad_sequence(queue.values(mask), batch_first=True)
        padded = torch.nn.utils.rnn.pad_sequence(losses, batch_first=True)
        assert float(agg_loss(padded, masks, "token-mean")) == pytest.approx(float(judged.mean()), rel=1e-5)


def test_a_group_without_comparison_keeps_its_judged_row_in_the_loss(queue: MadeQueue) -> None:
    estimate(queue, [Row(0, 0, 1.0), Row(0, 1, 0.0, judged=False)])
    assert [mask.tolist() for mask in queue.values("response_mask")] == [[1, 1], [0, 0]]


def test_a_batch_of_which_nothing_was_judged_ends_the_run_by_name(queue: MadeQueue) -> None:
    fill(queue, [Row(0, 0, 0.0, judged=False), Row(0, 1, 0.0, judged=False)])
    with pytest.raises(RunFailed) as caught:
        trainer()._compute_advantage(queue.batch(), {})
    assert str(caught.value) == (
        "step 3: none of the 2 trajectories could be judged (reward source 'maths': no gold), so there is nothing to "
        "train on; mend the reward or the rows"
    )


def test_a_reward_that_does_not_say_what_it_judged_has_judged(queue: MadeQueue) -> None:
    fill(queue, [Row(0, 0, 1.0), Row(0, 1, 0.0)])
    for row in queue.rows.values():
        row["extra_fields"] = {"reward_extra_info": {"score": 1.0}}
    trainer()._compute_advantage(queue.batch(), {})
    assert all(int(mask.sum()) == 2 for mask in queue.values("response_mask"))
