"""Checkpoints with the ledger in them, over a real TransferQueue: what comes back, what is purged, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import transfer_queue as tq
from real_queue import SETTINGS, TRAJECTORIES, ScriptedRollout, empty_queue, fed, names

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.integrations.verl.scheduling import checkpoint
from pangu_verl.integrations.verl.scheduling.known_prompts import KnownPrompts
from pangu_verl.integrations.verl.scheduling.prompts import PromptRows
from pangu_verl.integrations.verl.scheduling.settings import Scheduling
from pangu_verl.queue.entries import Group
from pangu_verl.queue.ledger_store import Durability
from pangu_verl.queue.priority import Priority
from pangu_verl.scheduler.controllers import Adaptive
from pangu_verl.scheduler.policies import Mask

pytestmark = pytest.mark.own_process


def scheduling(folder: Path) -> Scheduling:
    return Scheduling(
        settings=SETTINGS,
        policy=Mask(0.0, 0),
        priority=Priority((), {}),
        durability=Durability.NORMAL,
        ledger=folder / "ledger.sqlite",
        run_id="a run",
        staleness_weight=1.0,
        log_prob_gap_alarm=None,
        weights_checksum=True,
        controller=None,
        known_prompts=None,
    )


def test_a_checkpoint_brings_back_ready_groups_and_starts_the_others_anew(
    rollout: ScriptedRollout, tmp_path: Path
) -> None:
    scheduler, ledger = checkpoint.begin(scheduling(tmp_path))
    feed = fed(rollout, scheduler, PromptRows(TRAJECTORIES))
    feed.pump()
    for uid in ("p0.0", "p1.0", "p2.0"):
        rollout.answer(uid, 0)
    feed.pump()
    feed.take()
    checkpoint.save(scheduler, ledger, KnownPrompts(0), tmp_path / "global_step_1")
    tq.save_checkpoint(str(tmp_path / "transfer_queue"), metadata={})
    ledger.close()
    empty_queue()
    tq.load_checkpoint(str(tmp_path / "transfer_queue"))

    prompts = PromptRows(TRAJECTORIES)
    scheduler, ledger, rows = checkpoint.resume(
        scheduling(tmp_path), tmp_path / "global_step_1", 1, prompts, TRAJECTORIES
    )
    scheduler.publish()
    resumed = fed(rollout, scheduler, prompts)
    resumed.restored(rows)
    rollout.started = []
    resumed.pump()
    # Two were trained on, p2 is ready, p3 ran; the rows of those that were trained on are gone.
    assert rollout.started == ["p3.1", "p4.1", "p5.1"]
    assert {name for name in names("train") if "_" in name} == {"p2.0_0_0", "p2.0_1_0"}
    rollout.answer("p3.1", 1)
    resumed.pump()
    delivery = resumed.take()
    assert [entry.group.key for entry in delivery.batch.groups] == ["p2", "p3"]
    assert delivery.batch.groups[0].group.started_version == 0
    ledger.close()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_restored_prompt_and_a_new_one_are_started_together(rollout: ScriptedRollout, order: tuple[int, int]) -> None:
    first = PromptRows(TRAJECTORIES)
    [restored] = first.keep(rollout.load(1))
    prompts = PromptRows(TRAJECTORIES)
    prompts.load([restored.key])
    [new] = prompts.keep(rollout.load(1))
    groups = [Group(prompt=prompt, order=place, admitted_version=0) for place, prompt in enumerate((restored, new))]
    rollout.start(prompts.of([groups[place] for place in order], step=4))
    assert rollout.started == [f"p{place}.0" for place in order]


def test_a_checkpoint_without_a_prompt_of_its_ledger_is_refused(rollout: ScriptedRollout) -> None:
    with pytest.raises(RunFailed, match="has no prompt 'p7'"):
        PromptRows(TRAJECTORIES).load(["p7"])


def test_a_checkpoint_of_another_mode_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="global_step_3 has no ledger"):
        checkpoint.resume(scheduling(tmp_path), tmp_path / "global_step_3", 3, PromptRows(2), TRAJECTORIES)


def test_a_resumption_with_another_number_of_answers_is_refused(rollout: ScriptedRollout, tmp_path: Path) -> None:
    scheduler, ledger = checkpoint.begin(scheduling(tmp_path))
    feed = fed(rollout, scheduler, PromptRows(TRAJECTORIES))
    feed.pump()
    checkpoint.save(scheduler, ledger, KnownPrompts(0), tmp_path / "global_step_0")
    ledger.close()
    with pytest.raises(WrongUse, match=r"made with actor_rollout_ref\.rollout\.n=2, .* not with 3"):
        checkpoint.resume(scheduling(tmp_path), tmp_path / "global_step_0", 0, PromptRows(3), 3)


def test_padding_of_verl_in_a_checkpoint_is_purged(rollout: ScriptedRollout, tmp_path: Path) -> None:
    scheduler, ledger = checkpoint.begin(scheduling(tmp_path))
    feed = fed(rollout, scheduler, PromptRows(TRAJECTORIES))
    feed.pump()
    padding = [f"pad0f_{number}_0" for number in range(TRAJECTORIES)]
    tq.kv_batch_put(keys=padding, partition_id="train", tags=[{"is_padding": True}] * TRAJECTORIES)
    checkpoint.save(scheduler, ledger, KnownPrompts(0), tmp_path / "global_step_0")
    ledger.close()
    _, ledger, _ = checkpoint.resume(
        scheduling(tmp_path), tmp_path / "global_step_0", 0, PromptRows(TRAJECTORIES), TRAJECTORIES
    )
    ledger.close()
    assert names("train") == set()


def test_a_run_that_never_got_to_a_checkpoint_begins_a_new_ledger(tmp_path: Path) -> None:
    _, ledger = checkpoint.begin(scheduling(tmp_path))
    ledger.close()
    _, ledger = checkpoint.begin(scheduling(tmp_path))
    ledger.close()
    assert (tmp_path / "ledger.sqlite.superseded-1").exists()


@pytest.mark.parametrize(("controller", "bound_versions"), [(Adaptive(), 4), (None, SETTINGS.bound_versions)])
def test_the_bound_that_a_controller_moved_is_in_force_again(
    rollout: ScriptedRollout, tmp_path: Path, controller: Adaptive | None, bound_versions: int
) -> None:
    order = replace(scheduling(tmp_path), controller=controller)
    scheduler, ledger = checkpoint.begin(order)
    scheduler.adjust(4, None)
    checkpoint.save(scheduler, ledger, KnownPrompts(0), tmp_path / "global_step_0")
    ledger.close()
    scheduler, ledger, _ = checkpoint.resume(
        order, tmp_path / "global_step_0", 0, PromptRows(TRAJECTORIES), TRAJECTORIES
    )
    ledger.close()
    assert scheduler.settings.bound_versions == bound_versions


def test_what_a_controller_moved_is_refused_where_it_is_damaged(rollout: ScriptedRollout, tmp_path: Path) -> None:
    order = replace(scheduling(tmp_path), controller=Adaptive())
    scheduler, ledger = checkpoint.begin(order)
    checkpoint.save(scheduler, ledger, KnownPrompts(0), tmp_path / "global_step_0")
    ledger.close()
    (tmp_path / "global_step_0/ledger/in_force.json").write_text("{")
    with pytest.raises(RunFailed, match=r"in_force\.json is damaged"):
        checkpoint.resume(order, tmp_path / "global_step_0", 0, PromptRows(TRAJECTORIES), TRAJECTORIES)
