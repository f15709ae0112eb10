"""The gradient of a step with masked tokens: verl's own loss against one computed by hand, in every way to average."""

from __future__ import annotations

import pytest
import torch
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.workers.config import FSDPActorConfig

from pangu_verl.integrations.verl.scheduling.segments import without_first

#: Tokens of each trajectory and how many of them are over the bound; the third is masked as a whole.
LENGTHS, MASKED = (6, 4, 3, 5), (2, 0, 3, 4)
ADVANTAGES = (0.5, -1.0, 2.0, 1.5)
LONGEST = max(LENGTHS)


def padded(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def masks() -> torch.Tensor:
    rows = [torch.ones(length, dtype=torch.int64) for length in LENGTHS]
    return padded([without_first([row], masked)[0] for row, masked in zip(rows, MASKED, strict=True)])


def by_verl(loss_agg_mode: str) -> torch.Tensor:
    """The gradient by the log-probability of each token, at the policy that made them."""
    config = FSDPActorConfig(
        strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, ppo_mini_batch_size=4, loss_agg_mode=loss_agg_mode
    )
    # As verl's engine sets them: tokens by the loss mask, trajectories by the batch.
    config.global_batch_info.update(
        dp_size=1, batch_num_tokens=masks().sum(), global_batch_size=len(LENGTHS), loss_scale_factor=None
    )
    log_prob = padded([torch.full((length,), -0.7) for length in LENGTHS]).requires_grad_()
    advantages = padded([torch.full((n,), value) for n, value in zip(LENGTHS, ADVANTAGES, strict=True)])
    loss, _ = get_policy_loss_fn("vanilla")(
        old_log_prob=log_prob.detach(),
        log_prob=log_prob,
        advantages=advantages,
        response_mask=masks().to(bool),
        loss_agg_mode=loss_agg_mode,
        config=config,
        rollout_is_weights=None,
    )
    loss.backward()
    assert log_prob.grad is not None
    return log_prob.grad


def by_hand(loss_agg_mode: str) -> torch.Tensor:
    """At ratio 1 the derivative of a token's loss is -A; the weight is what the average makes of it."""
    fresh = [length - masked for length, masked in zip(LENGTHS, MASKED, strict=True)]
    num_tokens, num_trajectories = sum(fresh), len(LENGTHS)
    found = torch.zeros(num_trajectories, LONGEST)
    for row, (length, masked, advantage) in enumerate(zip(LENGTHS, MASKED, ADVANTAGES, strict=True)):
        weight = {
            "token-mean": 1 / num_tokens,
            "token-sum": 1.0,
            "seq-mean-token-sum": 1 / num_trajectories,
            "seq-mean-token-sum-norm": 1 / num_trajectories / LONGEST,
            "seq-mean-token-mean": 1 / num_trajectories / max(fresh[row], 1),
        }[loss_agg_mode]
        found[row, masked:length] = -advantage * weight
    return found


@pytest.mark.parametrize(
    "loss_agg_mode",
    ["token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-sum-norm", "seq-mean-token-mean"],
)
def test_a_masked_token_has_no_gradient_and_the_others_have_theirs(loss_agg_mode: str) -> None:
    torch.testing.assert_close(by_verl(loss_agg_mode), by_hand(loss_agg_mode), atol=1e-6, rtol=1e-5)
