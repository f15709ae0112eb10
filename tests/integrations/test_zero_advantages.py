"""Groups without a difference in score: which rows they are, and what leaves the loss and its gradient with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_batches import Row, fill, queue_in_memory, trainer
from made_queue import MadeQueue
from preflight_checks import Change, complaint
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.workers.config import FSDPActorConfig

from pangu_verl.integrations.verl.queue_rows import MASKS
from pangu_verl.integrations.verl.trajectories import Trajectory
from pangu_verl.integrations.verl.zero_advantages import rows_without_advantage


@pytest.fixture
def queue() -> Iterator[MadeQueue]:
    with queue_in_memory() as made:
        yield made


def masked(queue: MadeQueue, rows: Sequence[Row], **options: Any) -> tuple[list[bool], dict[str, float]]:
    """Which rows have no token in the loss after a step's advantages, and the step's metrics."""
    fill(queue, rows)
    metrics: dict[str, float] = {}
    trainer(masks_zero_advantages=True, **options)._compute_advantage(queue.batch(), metrics)
    for mask in MASKS[1:]:
        assert all(torch.equal(*both) for both in zip(queue.values(mask), queue.values(MASKS[0]), strict=True))
    return [not mask.any() for mask in queue.values(MASKS[0])], metrics


rows = st.builds(
    Trajectory,
    group=st.sampled_from("abc"),
    session=st.sampled_from("0123"),
    score=st.sampled_from([0.0, 0.97, 1.0]),
    reward=st.sampled_from([{}, {"judged": False}]),
    is_padding=st.booleans(),
)


@settings(deadline=None)
@given(rows=st.lists(rows, max_size=12))
def test_rows_are_those_of_groups_whose_judged_members_score_alike(rows: list[Trajectory]) -> None:
    expected = []
    for row in rows:
        scores = {other.score for other in rows if other.group == row.group and other.is_judged}
        expected.append(not row.is_padding and len(scores) <= 1)
    assert rows_without_advantage(rows) == expected


ALIKE = [Row(0, session, 0.97) for session in range(3)]
DIFFERENT = [Row(1, 0, 1.0), Row(1, 1, 0.0), Row(1, 2, 0.5)]


def test_groups_that_score_alike_leave_both_masks_and_their_share_is_told(queue: MadeQueue) -> None:
    found, metrics = masked(queue, [*ALIKE, *DIFFERENT])
    assert found == [True] * 3 + [False] * 3
    assert metrics["loss/zero_advantage_rows_share/mean"] == 0.5
    assert metrics["loss/steps_without_a_token_so_far/max"] == 0.0


def test_a_member_at_the_mean_of_its_group_stays(queue: MadeQueue) -> None:
    masked(queue, DIFFERENT)
    assert float(queue.values("advantages")[2].abs().max()) == 0.0
    assert queue.values("response_mask")[2].any()


def test_what_rounding_leaves_of_an_advantage_of_0_does_not_keep_a_group(queue: MadeQueue) -> None:
    found, _ = masked(queue, [Row(0, session, 0.97) for session in range(12)], n=12)
    assert float(queue.values("advantages")[0].abs().max()) > 0.1
    assert all(found)


def test_a_judged_row_without_anybody_to_compare_with_leaves_too(queue: MadeQueue) -> None:
    found, _ = masked(queue, [Row(0, 0, 1.0), Row(0, 1, 0.0, judged=False), *DIFFERENT])
    assert found == [True, True, False, False, False]


def test_a_step_in_which_nothing_teaches_is_counted(queue: MadeQueue) -> None:
    fill(queue, ALIKE)
    made, metrics = trainer(masks_zero_advantages=True), {}
    for _ in range(2):
        made._compute_advantage(queue.batch(), metrics)
    assert metrics["loss/steps_without_a_token_so_far/max"] == 2.0


def test_without_the_key_nothing_leaves(queue: MadeQueue) -> None:
    fill(queue, ALIKE)
    metrics: dict[str, float] = {}
    trainer()._compute_advantage(queue.batch(), metrics)
    assert all(mask.all() for mask in queue.values("response_mask"))
    assert not metrics


def gradient(advantages: torch.Tensor, mask: torch.Tensor, loss_agg_mode: str) -> torch.Tensor:
    """By the log-probability of each token, at the policy that made them, from verl's own loss."""
    config = FSDPActorConfig(
        strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, ppo_mini_batch_size=6, loss_agg_mode=loss_agg_mode
    )
    # As verl's engine sets them: tokens by the loss mask, trajectories by the configured size.
    config.global_batch_info.update(
        dp_size=1, batch_num_tokens=mask.sum(), global_batch_size=len(mask), loss_scale_factor=None
    )
    log_prob = torch.full(mask.shape, -0.7, requires_grad=True)
    loss, _ = get_policy_loss_fn("vanilla")(
        old_log_prob=log_prob.detach(),
        log_prob=log_prob,
        advantages=advantages,
        response_mask=mask.bool(),
        loss_agg_mode=loss_agg_mode,
        config=config,
        rollout_is_weights=None,
    )
    loss.backward()
    assert log_prob.grad is not None
    return log_prob.grad


@pytest.mark.parametrize(
    ("loss_agg_mode", "weight"),
    [
        ("token-mean", 1 / 6),
        ("token-sum", 1.0),
        ("seq-mean-token-sum", 1 / 6),
        ("seq-mean-token-sum-norm", 1 / 6 / 2),
        ("seq-mean-token-mean", 1 / 6 / 2),
    ],
)
def test_token_means_are_over_tokens_that_teach_and_sequence_means_stay(
    queue: MadeQueue, loss_agg_mode: str, weight: float
) -> None:
    """Six rows of two tokens, of which three rows teach: 6 tokens, and still 6 sequences."""
    masked(queue, [*ALIKE, *DIFFERENT])
    advantages, mask = torch.stack(queue.values("advantages")), torch.stack(queue.values("loss_mask"))
    by_hand = torch.where(mask.bool(), -advantages * weight, 0.0)
    torch.testing.assert_close(gradient(advantages, mask, loss_agg_mode), by_hand, atol=1e-6, rtol=1e-5)


def test_an_estimator_that_compares_nobody_is_refused(change: Change) -> None:
    text = complaint(change(pangu__loss__zero_advantage_mask=True, algorithm__adv_estimator="reinforce_plus_plus"))
    assert text.startswith("pangu.loss.zero_advantage_mask=true needs an advantage that compares the responses")


def test_a_penalty_in_the_reward_is_refused(change: Change) -> None:
    text = complaint(change(pangu__loss__zero_advantage_mask=True, algorithm__use_kl_in_reward=True))
    assert "algorithm.use_kl_in_reward=true adds to them token by token" in text
