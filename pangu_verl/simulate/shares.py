"""The measures of a run, as the design document defines them under "Time and shares".

``ceiling_share`` = (W + T) / mean step time; ``fresh_token_share`` = ceiling_share x trained tokens / tokens of natural
length; ``trained_length_ratio`` = mean trained tokens of a consumed trajectory / mean natural length; ``bound_share`` =
least mean step time of any schedule that trains on the same batches in the same order (``bounds``) / mean step time.
Invariant: natural length and speeds come from the plan, not from the run, so that no policy moves its own yardstick;
``bound_share`` alone goes by the run's own batches, and is not to be compared between policies.
"""

from __future__ import annotations

from pangu_verl.simulate.bounds import least_total_s
from pangu_verl.simulate.cluster import Workload
from pangu_verl.simulate.engine import Plan
from pangu_verl.simulate.outcome import Outcome, TaskOutcome
from pangu_verl.simulate.tally import Tally, percentile


def measure(plan: Plan, tally: Tally, *, policy: str, bound_versions: int) -> Outcome:
    """What came of a run of ``plan``; where tokens over the bound were trained on, ``bound_share`` grants their lag."""
    num_steps, num_groups = len(tally.steps), sum(tally.groups_by_age.values())
    workload = Workload(
        batch_groups=num_groups // num_steps,
        trajectories=plan.trace.trajectories,
        mean_tokens=plan.trace.mean_tokens,
    )
    rollout_s, train_s = workload.rollout_s(plan.cluster), workload.train_s(plan.cluster)
    consumed = sum(step.consumed_tokens for step in tally.steps)
    trained = sum(step.trained_tokens for step in tally.steps)
    length_ratio = trained / tally.num_trajectories / workload.mean_tokens
    ceiling_share = (rollout_s + train_s) * num_steps / tally.total_s
    max_lag = max(tally.trained_tokens_by_lag, default=0)
    least_s = least_total_s(tally.steps, max(bound_versions, max_lag), plan.cluster, plan.split)
    return Outcome(
        policy=policy,
        staleness_bound=bound_versions,
        trace=plan.trace.name,
        train_to_rollout_ratio=train_s / rollout_s,
        steps=num_steps,
        batch_groups=workload.batch_groups,
        trajectories=workload.trajectories,
        devices=plan.cluster.devices,
        rollout_slots=tally.slots,
        trainer_devices=plan.split.trainer_devices,
        mean_step_s=tally.total_s / num_steps,
        ceiling_share=ceiling_share,
        bound_share=least_s / tally.total_s,
        fresh_token_share=ceiling_share * trained / (workload.tokens * num_steps),
        trained_length_ratio=length_ratio,
        masked_share=1 - trained / consumed,
        dropped_share=tally.num_dropped_groups / (tally.num_dropped_groups + num_groups),
        wasted_token_share=tally.wasted_tokens / (tally.wasted_tokens + consumed),
        restarted_groups=tally.num_restarted_groups,
        # By what the selection says of itself, and by what was asked of it.
        violations=max(
            tally.num_violations,
            sum(tokens for lag, tokens in tally.trained_tokens_by_lag.items() if lag > bound_versions),
        ),
        max_trained_lag=max_lag,
        trained_lag_p50=percentile(tally.trained_tokens_by_lag, 0.5),
        trained_lag_p99=percentile(tally.trained_tokens_by_lag, 0.99),
        # Sums of many floats may exceed the whole by a rounding.
        trainer_idle_share=max(0.0, 1 - tally.train_s / tally.total_s),
        rollout_idle_share=max(0.0, 1 - tally.busy_slot_s / (tally.slots * tally.total_s)),
        queue_age_p50_versions=percentile(tally.groups_by_age, 0.5),
        queue_age_max_versions=max(tally.groups_by_age),
        oldest_age_versions=tally.oldest_age_versions,
        most_attempts=tally.most_attempts,
        tasks=_tasks(plan, tally),
    )


def _tasks(plan: Plan, tally: Tally) -> dict[str, TaskOutcome]:
    means = plan.trace.task_means()
    trained = max(1, tally.trained_tokens_by_task.total())
    return {
        task: TaskOutcome(
            group_share=num_groups / tally.groups_by_task.total(),
            token_share=tally.trained_tokens_by_task[task] / trained,
            trained_length_ratio=tally.trained_tokens_by_task[task] / tally.trajectories_by_task[task] / means[task],
        )
        for task, num_groups in sorted(tally.groups_by_task.items())
    }
