"""Real runs under our scheduler: killed, resumed, and held to what the ledger says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_runs import SCHEDULED, Finished
from lineage_audit import audit, saved_step
from omegaconf import OmegaConf
from running_commands import LONG, Running

from pangu_verl.queue.entries import State
from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.ledger_store import Durability

BOUND_VERSIONS = 1
OVERRIDES = (
    *SCHEDULED,
    f"pangu.scheduler.bound_versions={BOUND_VERSIONS}",
    "+pangu.scheduler.priority={task_share_deficit:1.0,age:1.0}",
    "+pangu.scheduler.task_shares={word_problems_sum:1.0,word_problems_larger:1.0}",
)
STEPS_BEFORE_THE_KILL = 3
STEPS_AFTER_THE_CHECKPOINT = 3


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Running:
    """A run with the priority queue, MARS and the checkpoint callback, ended by kill -9 in the middle of a step."""
    run = Running(tmp_path_factory.mktemp("scheduled") / "run", *OVERRIDES)
    try:
        run.reach_step(STEPS_BEFORE_THE_KILL)
        run.kill()
    finally:
        run.started.kill()
    return run


@pytest.fixture(scope="module")
def resumed(killed: Running, quickstart: Callable[..., Finished]) -> Finished:
    steps = saved_step(killed.folder) + STEPS_AFTER_THE_CHECKPOINT
    return quickstart(
        f"trainer.total_training_steps={steps}", *LONG[1:-1], *OVERRIDES, folder=killed.folder, resume=True
    )


def ledger_of(folder: Path) -> Ledger:
    config = OmegaConf.load(folder / "config.yaml")
    run_id = f"{config.trainer.project_name}/{config.trainer.experiment_name}"
    return Ledger.open(folder / "ledger.sqlite", run_id, Durability.NORMAL)


def test_a_killed_run_goes_on_from_its_checkpoint(resumed: Finished) -> None:
    assert resumed.code == 0, resumed.errors
    steps = sorted(resumed.metrics("actor/grad_norm"))
    assert len(steps) == STEPS_AFTER_THE_CHECKPOINT


def test_no_token_over_the_bound_was_trained_on(resumed: Finished) -> None:
    assert max(resumed.metrics("scheduler/lag_versions/max").values()) <= BOUND_VERSIONS


def test_every_prompt_was_trained_on_once_or_is_still_there(resumed: Finished) -> None:
    config = OmegaConf.load(resumed.folder / "config.yaml")
    with ledger_of(resumed.folder) as ledger:
        counts, counters = ledger.counts(), ledger.counters()
    trained = config.trainer.total_training_steps * config.data.train_batch_size
    live = sum(counts.get(state, 0) for state in (State.WAITING, State.RUNNING, State.READY))
    assert counters["consumed"] == trained
    assert counters["admitted"] == trained + live


def test_every_row_of_the_data_became_one_prompt_before_and_after_the_kill(resumed: Finished) -> None:
    groups = OmegaConf.load(resumed.folder / "config.yaml").data.train_batch_size
    audit(resumed.folder, batch_groups=groups, bound_versions=BOUND_VERSIONS)


def test_what_the_checkpoint_had_not_seen_is_kept_aside(killed: Running, resumed: Finished) -> None:
    assert (killed.folder / "ledger.sqlite.superseded-1").exists()


def test_rewards_were_judged_by_mars(resumed: Finished) -> None:
    assert set(resumed.metrics("rewards/unjudged_rows").values()) == {0.0}
