"""verl's trainer modes on the CPU backend: parity of log-probabilities, saving and resuming, one and two ranks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from command_runs import PARITY, SCHEDULED, SEPARATE, Finished

pytestmark = pytest.mark.slow

COLOCATE = ("trainer.v1.trainer_mode=colocate_async",)
TWO_RANKS = ("trainer.n_gpus_per_node=2", "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16")
#: Without prefetch every token is made by the newest weights, so the log-probabilities can be compared exactly.
ON_POLICY = ("trainer.v1.colocate_async.num_warmup_batches=0", "trainer.v1.separate_async.num_warmup_batches=0")
ON_POLICY_SCHEDULE = ("pangu.scheduler.policy=wait", "pangu.scheduler.bound_versions=0")
STEPS = (
    "trainer.total_training_steps=3",
    "trainer.test_freq=-1",
    "trainer.val_before_train=false",
    "trainer.save_freq=2",
)

CASES = {
    "sync, 2 ranks": TWO_RANKS,
    "colocate_async, 1 rank": COLOCATE,
    "colocate_async, 2 ranks": (*COLOCATE, *TWO_RANKS),
    "separate_async, 1 rank": SEPARATE,
    "separate_async, 2 ranks": (*SEPARATE, *TWO_RANKS),
    "pangu_ssp, 1 rank": (*SCHEDULED, *ON_POLICY_SCHEDULE),
    "pangu_ssp_colocate, 1 rank": ("trainer.v1.trainer_mode=pangu_ssp_colocate", *ON_POLICY_SCHEDULE),
}


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.replace(", ", "-").replace(" ", "-"))
def run(request: pytest.FixtureRequest, quickstart: Callable[..., Finished]) -> tuple[tuple[str, ...], Finished]:
    overrides = (*PARITY, *ON_POLICY, *CASES[request.param])
    return overrides, quickstart(*overrides, *STEPS)


def test_rollout_and_trainer_agree_on_log_probs_after_every_update(run: tuple[tuple[str, ...], Finished]) -> None:
    _, finished = run
    assert finished.code == 0, finished.errors
    gaps = finished.metrics("training/rollout_log_probs_gap/max")
    assert sorted(gaps) == [1, 2, 3]
    assert max(gaps.values()) < 1e-4, gaps


def test_the_mode_resumes_from_its_checkpoint(
    run: tuple[tuple[str, ...], Finished], quickstart: Callable[..., Finished]
) -> None:
    overrides, finished = run
    steps = ("trainer.total_training_steps=4", *STEPS[1:3], "trainer.save_freq=-1")
    resumed = quickstart(*overrides, *steps, folder=finished.folder, resume=True)
    assert resumed.code == 0, resumed.errors
    assert sorted(resumed.metrics("actor/grad_norm")) == [4]


def test_separate_async_interrupts_and_resumes_partial_rollouts(quickstart: Callable[..., Finished]) -> None:
    """With prefetch, trajectories outlive a publication of weights: verl reports the span of their versions."""
    finished = quickstart(*SEPARATE, *STEPS, "trainer.v1.separate_async.num_warmup_batches=1")
    assert finished.code == 0, finished.errors
    assert max(finished.metrics("training/off_policy/trajectory_staleness/max").values()) >= 1
