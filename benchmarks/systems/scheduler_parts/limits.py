"""What no policy can exceed in a cell: the most fresh tokens at a given trained length, and why.

Take the groups in batches in the order of admission, each trajectory as the prompt's first response, and let a policy
mask what it likes. With m_k the most trained tokens of a trajectory of step k, t_k its training time and e_k its end,
no token over the bound means e_k - e_(k-s-1) >= m_k / r + t_k, where r is the decode rate of one trajectory: what is
trained on at step k was made after the publication s versions before. Over all steps the left side adds up to at most
(s + 1) x the whole time (with several steps a version, that many times as much), and the t_k to the time for the
trained tokens or more. For a given sum of trained tokens the sum of the m_k is least where in each batch the same
number of trajectories is cut, as a token of m_k gains that many: so the corners of the curve are the batches cut to
their longest, second longest, ..., and it is straight between them.

It is a limit for policies that do not choose by length: one that gathers long responses in few steps, or draws anew
until they are short, has other batches. Nothing is simulated here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pangu_verl.simulate.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Limit:
    """Corners of the curve: trained-length ratios, falling, and the fresh-token share that staleness allows at each.

    ``most_fresh_share`` is what trainer and rollout allow at any length.
    """

    length_ratios: NDArray[np.float64]
    fresh_shares: NDArray[np.float64]
    most_fresh_share: float

    def most_fresh(self, least_length_ratio: float) -> float:
        """Of all schedules with at least this trained-length ratio (or the natural one, if that is lower)."""
        ratios = self.length_ratios
        ratio = min(least_length_ratio, float(ratios[0]))
        # Between two corners it is the time that is straight, and the share monotone.
        time = np.interp(ratio, ratios[::-1], (ratios / self.fresh_shares)[::-1])
        longer = self.fresh_shares[ratios >= ratio]
        return min(max(ratio / time, float(longer.max())), self.most_fresh_share)


def limit_of(scenario: Scenario, bound_versions: int) -> Limit:
    plan, workload = scenario.plan(), scenario.workload
    cluster, split = plan.cluster, plan.split
    decode_tokens_per_s = cluster.decode_rates()[-1]
    train_tokens_per_s = cluster.train_tokens_per_s * split.trainer_devices
    rollout_tokens_per_s = decode_tokens_per_s * cluster.slots_per_replica * split.replicas
    natural_tokens = workload.tokens * scenario.steps
    ceiling_s = (workload.rollout_s(cluster) + workload.train_s(cluster)) * scenario.steps
    longest_first = -np.sort(-_lengths(scenario), axis=1)
    num_cut = np.arange(longest_first.shape[1])
    trained = (longest_first.sum(axis=1, keepdims=True) - np.cumsum(longest_first, axis=1) + longest_first).sum(axis=0)
    trained += (num_cut * longest_first).sum(axis=0)
    most_trained = longest_first.sum(axis=0)
    least_s = (most_trained / decode_tokens_per_s + trained / train_tokens_per_s) / (
        (bound_versions + 1) * scenario.steps_per_version
    )
    ratios = trained / natural_tokens
    slower_tokens_per_s = min(train_tokens_per_s, rollout_tokens_per_s)
    return Limit(ratios, ratios * ceiling_s / least_s, slower_tokens_per_s * ceiling_s / natural_tokens)


def _lengths(scenario: Scenario) -> NDArray[np.float64]:
    """Natural lengths in tokens, one row a step."""
    groups = range(scenario.steps * scenario.batch_groups)
    lengths = np.array([scenario.trace.responses(index, 0).tokens for index in groups], dtype=np.float64)
    return lengths.reshape(scenario.steps, -1)
