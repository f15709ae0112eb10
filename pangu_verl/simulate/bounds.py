"""How fast any schedule could have trained on what a run trained on: the yardstick of ``bound_share``.

Invariant: no schedule that trains on the same tokens in the same steps, on the same split and under the same bound, is
faster, whatever it knows beforehand; so a run's share of it is at most 1. It is a bound, not a schedule: there may be
no schedule that reaches it. Interruptions, failures and tokens that were thrown away count as avoidable.
"""

from __future__ import annotations

from collections.abc import Sequence

from pangu_verl.simulate.cluster import Cluster, Split
from pangu_verl.simulate.tally import StepFacts


def least_total_s(steps: Sequence[StepFacts], bound_versions: int, cluster: Cluster, split: Split) -> float:
    """A lower bound on the time, in seconds, in which ``steps`` can have been trained.

    Let step k begin at b_k with the version v_k and take t_k to train; let version v appear at p_v, the end of the last
    step before it and the publication (p_v = 0 for v <= 0). A token trained on at step k was made between p_(v_k - s)
    and b_k. With r the fastest rate of one trajectory and R the most that all replicas make together:

    1. b_k >= end of step k - 1, and >= p_(v_k): the trainer does one step at a time, from published weights;
    2. b_k >= p_(v_k - s) + (most trained tokens of a trajectory of step k) / r: a trajectory runs in one slot;
    3. b_k >= p_(v_j - s) + (trained tokens of steps j to k) / R for every j <= k: that work fits into no other time;
    4. b_k >= (tokens of steps 0 to k, masked ones too) / R, and >= (most tokens of a trajectory of step k) / r.

    Where trajectories may be interrupted and moved at will, hardly anything else binds: for ``wait`` on log-normal
    traces the linear programme over all intervals gives the same to three digits (the tests compare the two).

    The least times that keep these are found step by step, as each depends on earlier ones alone. For ``wait`` with a
    longest trajectory L in every step, 2 gives the known (L + t) / (s + 1) a step (derived in the project's anchors).
    """
    fastest, most_together = _speeds(cluster, split)
    published_s: dict[int, float] = {}
    end_s = trained_s = made_s = 0.0
    # Most of p_(v_j - s) less the work before step j, over the steps j so far: constraint 3 in one pass.
    head_start_s = 0.0
    version = steps[0].version if steps else 0
    for step in steps:
        if step.version > version:
            end_s += cluster.publication_s
            published_s[step.version] = end_s
            version = step.version
        open_s = published_s.get(step.version - bound_versions, 0.0)
        head_start_s = max(head_start_s, open_s - trained_s)
        trained_s += step.trained_tokens / most_together
        made_s += step.consumed_tokens / most_together
        begin_s = max(
            end_s,
            open_s + step.longest_trained_tokens / fastest,
            head_start_s + trained_s,
            made_s,
            step.longest_tokens / fastest,
        )
        end_s = begin_s + step.train_s
    return end_s


def _speeds(cluster: Cluster, split: Split) -> tuple[float, float]:
    rates = cluster.decode_rates()[1:]
    together = max(running * rate for running, rate in enumerate(rates, start=1))
    return max(rates), together * split.replicas
