"""The feed between verl's loader, its agent loops and its trainer, over a real TransferQueue and the real scheduler."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import transfer_queue as tq
from real_queue import (
    SETTINGS,
    TOKENS,
    TRAJECTORIES,
    Now,
    ScriptedRollout,
    buffer_of,
    feed_of,
    names,
)

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.scheduling.attempts import RESTS_S
from pangu_verl.integrations.verl.scheduling.feed import MOST_GIVEN_UP_IN_A_ROW, TOLD_AFTER_S, Feed
from pangu_verl.integrations.verl.scheduling.prompts import PARTITION, PromptRows
from pangu_verl.scheduler.policies import Drop, Mask
from pangu_verl.scheduler.scheduler import Scheduler

pytestmark = pytest.mark.own_process


def grow_old(feed: Feed, rollout: ScriptedRollout) -> None:
    """A step is trained on, and two versions are published while p2 and p3 run."""
    feed.pump()
    for uid in ("p0.0", "p1.0"):
        rollout.answer(uid, 0)
    feed.pump()
    feed.take()
    for _ in range(2):
        feed.published()


def test_prompts_start_as_far_as_servers_have_room(rollout: ScriptedRollout) -> None:
    feed = feed_of(rollout, slots=3 * TRAJECTORIES)
    feed.pump()
    assert rollout.started == ["p0.0", "p1.0", "p2.0"]
    rollout.answer("p1.0", 0)
    feed.pump()
    assert rollout.started[3:] == ["p3.0"]


def test_stragglers_do_not_keep_the_slots_of_the_others(rollout: ScriptedRollout) -> None:
    feed = feed_of(rollout, slots=2 * TRAJECTORIES)
    feed.pump()
    for uid in ("p0.0", "p1.0"):
        rollout.answer(uid, 0, sessions=TRAJECTORIES - 1, status="running")
    feed.pump()
    assert rollout.started == ["p0.0", "p1.0", "p2.0"]


def test_a_generation_that_was_given_up_is_told_to_stop_and_keeps_its_slots_until_it_has(
    rollout: ScriptedRollout,
) -> None:
    feed = feed_of(rollout, Drop(1), slots=4 * TRAJECTORIES)
    grow_old(feed, rollout)
    feed.pump()
    assert rollout.given_up == ["p2.0", "p3.0"]
    assert rollout.started == ["p0.0", "p1.0", "p2.0", "p3.0", "p4.0", "p5.0"]
    rollout.answer("p2.0", 0)
    feed.pump()
    assert rollout.started[6:] == ["p2.1"]


def test_servers_with_a_queue_of_their_own_are_told_whom_to_run_first(rollout: ScriptedRollout) -> None:
    sent: list[int] = []
    sides = replace(
        rollout.sides(),
        start=lambda rows: sent.extend(int(number) for number in rows["priority"]),
        takes_priorities=True,
    )
    Feed(Scheduler(SETTINGS, Mask(0.0, 0)), PromptRows(TRAJECTORIES), sides).pump()
    assert sent == sorted(sent)
    assert len(sent) == 4


def test_no_more_starts_than_the_window_holds(rollout: ScriptedRollout) -> None:
    feed_of(rollout).pump()
    assert len(rollout.started) == (SETTINGS.bound_versions + 1) * SETTINGS.batch_groups


def test_a_step_gets_the_rows_of_its_groups_in_order(rollout: ScriptedRollout) -> None:
    feed = feed_of(rollout)
    feed.pump()
    for uid in ("p2.0", "p0.0", "p1.0"):
        rollout.answer(uid, 0)
    feed.pump()
    batch, metrics = buffer_of(feed).sample(global_steps=1, partition_id="train", batch_size=2)
    assert batch.keys == ["p0.0_0_0", "p0.0_1_0", "p1.0_0_0", "p1.0_1_0"]
    assert [tag["seq_len"] for tag in batch.tags] == [TOKENS] * 4
    assert metrics["scheduler/lag_versions/max"] == 0.0
    assert {"p0", "p1"}.isdisjoint(names(PARTITION))


def test_tokens_over_the_bound_leave_both_masks(rollout: ScriptedRollout) -> None:
    feed = feed_of(rollout)
    grow_old(feed, rollout)
    rollout.answer("p2.0", 0, 1, 2)
    rollout.answer("p3.0", 2)
    feed.pump()
    batch, metrics = buffer_of(feed).sample(global_steps=3, partition_id="train", batch_size=2)
    found = tq.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=["response_mask", "loss_mask"])
    whole, stale = [1] * TOKENS, [0] * TOKENS
    for name in ("response_mask", "loss_mask"):
        masks = [[int(cell) for cell in row] for row in found[name].unbind()]
        assert masks == [stale + whole + whole] * 2 + [whole] * 2
    assert metrics["scheduler/masked_share"] == pytest.approx(2 * TOKENS / (8 * TOKENS))


def test_a_generation_with_a_failed_session_rests_is_made_anew_and_in_the_end_given_up(
    rollout: ScriptedRollout,
) -> None:
    now = Now()
    feed = feed_of(rollout, clock=now)
    feed.pump()
    for attempt, rest_s in enumerate(RESTS_S):
        rollout.answer(f"p0.{attempt}", 0, status="failure", sessions=1)
        feed.pump()
        now.s += rest_s - 0.1
        feed.pump()
        assert f"p0.{attempt + 1}" not in rollout.started
        now.s += 0.2
        feed.pump()
        assert rollout.started[-1] == f"p0.{attempt + 1}"
    rollout.answer(f"p0.{len(RESTS_S)}", 0, status="failure", sessions=1)
    feed.pump()
    assert feed.counts["abandoned_prompts"] == 1
    assert names("train") == {"p1.0", "p2.0", "p3.0", "p4.0"}
    assert "p0" not in names(PARTITION)


def test_a_generation_without_a_row_for_each_session_has_failed(rollout: ScriptedRollout) -> None:
    now = Now()
    feed = feed_of(rollout, clock=now)
    feed.pump()
    rollout.answer("p0.0", 0, sessions=1)
    feed.pump()
    now.s += RESTS_S[0]
    feed.pump()
    assert rollout.started[-1] == "p0.1"


def test_prompts_that_all_fail_end_the_run_with_a_reason(rollout: ScriptedRollout) -> None:
    with pytest.raises(RunFailed, match=f"{MOST_GIVEN_UP_IN_A_ROW} prompts in a row failed"):
        fail_everything(rollout)


def fail_everything(rollout: ScriptedRollout) -> None:
    now = Now()
    feed = feed_of(rollout, clock=now)
    for _ in range(100):
        feed.pump()
        for uid in names("train"):
            rollout.answer(uid, 0, status="failure", sessions=0)
        now.s += RESTS_S[-1]


def test_an_answer_of_an_attempt_that_was_given_up_is_thrown_away(rollout: ScriptedRollout) -> None:
    feed = feed_of(rollout, Drop(1))
    grow_old(feed, rollout)
    assert {"p2.1", "p3.1"} <= set(rollout.started)
    rollout.answer("p2.0", 0)
    feed.pump()
    assert feed.counts["late_generations"] == 1
    assert not any(name.startswith("p2.0") for name in names("train"))


def test_what_goes_wrong_in_the_feed_is_raised_where_the_trainer_waits(rollout: ScriptedRollout) -> None:
    feed = feed_of(rollout)
    feed.start()
    try:
        rollout.answer("p0.0", None)
        with pytest.raises(RunFailed, match=r"row p0\.0_0_0 does not say which policy version made its tokens"):
            feed.take()
    finally:
        feed.stop()


def test_a_trainer_that_waits_gets_its_step_as_soon_as_the_groups_are_there(rollout: ScriptedRollout) -> None:
    feed = feed_of(rollout)
    feed.start()
    try:
        threading.Timer(0.2, rollout.answer_all, [0]).start()
        assert len(feed.take().batch.groups) == SETTINGS.batch_groups
    finally:
        feed.stop()


def test_a_version_that_verl_does_not_train_with_is_refused(rollout: ScriptedRollout) -> None:
    feed = feed_of(rollout)
    feed.pump()
    with pytest.raises(RunFailed, match="version 0, not 4"):
        buffer_of(feed).sample(global_steps=5, partition_id="train", batch_size=2)


def test_a_generation_that_hangs_is_stopped_and_made_anew_at_its_place(rollout: ScriptedRollout) -> None:
    now = Now()
    feed = feed_of(rollout, clock=now)
    feed.pump()
    rollout.answer("p1.0", 0)
    feed.pump()
    now.s += SETTINGS.lease_s
    feed.pump()
    assert rollout.given_up == ["p0.0", "p2.0", "p3.0"]
    assert feed.counts["hung_generations"] == 3
    now.s += RESTS_S[0]
    feed.pump()
    assert rollout.started[4:] == ["p0.1", "p2.1", "p3.1"]
    rollout.answer("p0.0", 0)
    rollout.answer("p2.0", 0, status="failure", sessions=0)
    feed.pump()
    assert feed.counts["late_generations"] == 1


def test_a_prompt_that_always_hangs_is_given_up(rollout: ScriptedRollout) -> None:
    now = Now()
    feed = feed_of(rollout, clock=now)
    feed.pump()
    for rest_s in (*RESTS_S, 0.0):
        for uid in [uid for uid in rollout.started if uid in names("train") and not uid.startswith("p0.")]:
            rollout.answer(uid, 0)
        feed.pump()
        now.s += SETTINGS.lease_s
        feed.pump()
        now.s += rest_s
        feed.pump()
    assert feed.counts["abandoned_prompts"] == 1
    assert "p0" not in names(PARTITION)


def test_a_trainer_that_waits_says_for_whom(rollout: ScriptedRollout, caplog: pytest.LogCaptureFixture) -> None:
    now = Now()
    feed = feed_of(rollout, clock=now)
    feed.pump()
    trainer = threading.Thread(target=feed.take)
    trainer.start()
    now.s += TOLD_AFTER_S
    while not (told := [message for message in caplog.messages if "no step for 60 s" in message]):
        feed.pump()
    rollout.answer_all(0)
    feed.pump()
    trainer.join()
    assert told[0].endswith("the oldest that runs is p0.0")


def test_an_end_that_is_written_after_it_was_settled_is_cleared(rollout: ScriptedRollout) -> None:
    feed = feed_of(rollout)
    feed.pump()
    tq.kv_put(key="p9.0", partition_id="train", tag={"status": "failure"})
    feed.pump()
    assert "p9.0" not in names("train")
