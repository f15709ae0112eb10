"""What a recording scheduler writes: every verb in order, as soon as it was done, with numbers to the last bit."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_ledgers import new_ledger
from recording_runs import LINES, POLICY, SETTINGS, answer, events, priority, prompts, record_by_hand

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.entries import Prompt, Segment, Trajectory
from pangu_verl.scheduler.policies import Mask
from pangu_verl.scheduler.recording import RecordingScheduler, read_schedule
from pangu_verl.scheduler.replay import replay
from pangu_verl.scheduler.settings import SchedulerSettings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "schedule.jsonl"


def verbs(path: Path) -> list[str]:
    return [str(line["verb"]) for line in events(path)]


def test_every_verb_has_a_line_in_the_order_of_the_run(path: Path) -> None:
    record_by_hand(path)
    assert verbs(path) == list(LINES)


def test_the_first_line_says_what_was_scheduled_by_what(path: Path) -> None:
    made = SchedulerSettings(batch_groups=2, bound_versions=1, task_bounds={"code": 3})
    RecordingScheduler(path, made, Mask(least_fresh_share=0.25), priority(age=2.0, deadline_slack=0.0)).close()
    heading = read_schedule(path)[0]
    assert (heading["verb"], heading["format"]) == ("schedule", 1)
    assert heading["policy"] == {"name": "mask", "least_fresh_share": 0.25, "most_evictions": 1}
    assert heading["priority"] == {"age": 2.0}
    assert {name: heading["settings"][name] for name in ("batch_groups", "bound_versions", "task_bounds")} == {
        "batch_groups": 2, "bound_versions": 1, "task_bounds": {"code": 3}
    }  # fmt: skip


def test_a_line_is_in_the_file_before_the_next_verb(path: Path) -> None:
    """So a killed run leaves what it did."""
    with RecordingScheduler(path, SETTINGS, POLICY) as scheduler:
        assert verbs(path) == ["schedule"]
        scheduler.admit(prompts("a"))
        assert verbs(path) == ["schedule", "admit"]
        scheduler.dispatch(1)
        assert verbs(path) == ["schedule", "admit", "dispatch"]


def test_prompts_come_back_as_they_were_admitted(path: Path) -> None:
    admitted = [
        Prompt(key='né"w\nline', task="数学", trajectories=3, row=7, expected_tokens=0.1 + 0.2, pass_rate=5e-324),
        Prompt(key="b", task="", trajectories=1),
    ]
    with RecordingScheduler(path, SETTINGS, POLICY) as scheduler:
        scheduler.admit(admitted)
    assert read_schedule(path)[1]["prompts"] == admitted


@settings(max_examples=100, deadline=None)
@given(
    reward=st.none() | st.floats(),
    segments=st.lists(st.builds(Segment, st.just(0), st.integers(0, 2**40)), max_size=4),
)
def test_trajectories_come_back_to_the_last_bit(reward: float | None, segments: list[Segment]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "schedule.jsonl"
        with RecordingScheduler(path, SETTINGS, POLICY) as scheduler:
            scheduler.admit(prompts("a"))
            scheduler.dispatch(1)
            scheduler.complete("a", 0, Trajectory(tuple(segments), reward), 0)
        found = read_schedule(path)[3]["trajectory"]
    assert found.segments == tuple(segments)
    if reward is None or math.isnan(reward):
        assert repr(found.reward) == repr(reward)
    else:
        assert found.reward.hex() == reward.hex()


def test_what_changes_nothing_is_not_written(path: Path) -> None:
    with RecordingScheduler(path, SETTINGS, POLICY) as scheduler:
        assert scheduler.dispatch(8) == []
        assert scheduler.take() is None
    assert verbs(path) == ["schedule"]


def test_an_eviction_of_nothing_is_written(path: Path) -> None:
    """It decides what the next one looks at."""
    with RecordingScheduler(path, SETTINGS, POLICY) as scheduler:
        scheduler.evict()
    assert events(path)[1:] == [{"verb": "evict", "keys": []}]


def test_a_verb_that_fails_is_not_written(path: Path) -> None:
    with RecordingScheduler(path, SETTINGS, POLICY) as scheduler:
        scheduler.admit(prompts("a"))
        scheduler.dispatch(1)
        with pytest.raises(WrongUse, match="came again"):
            scheduler.admit(prompts("a"))
        for key, member, version in (("z", 0, 0), ("a", 1, 0), ("a", 0, 1)):
            with pytest.raises(RunFailed):
                scheduler.complete(key, member, answer(version), 0)
        for verb in (lambda: scheduler.restart(["z"]), lambda: scheduler.abandon("z", "gone")):
            with pytest.raises(RunFailed):
                verb()
        with pytest.raises(WrongUse):
            scheduler.adjust(-1, None)
    assert verbs(path) == ["schedule", "admit", "dispatch"]
    assert list(replay(path, SETTINGS, POLICY)) == []


def test_an_answer_for_a_group_of_the_past_is_ignored_in_the_run_and_in_its_replay(path: Path, tmp_path: Path) -> None:
    """With a ledger such an answer is no error: the ledger knows the group, a replay has none."""
    ledger = new_ledger(tmp_path / "ledger.sqlite")
    with RecordingScheduler(path, SETTINGS, POLICY, record=ledger) as scheduler:
        scheduler.admit(prompts("a", "b"))
        scheduler.dispatch(2)
        scheduler.complete("a", 0, answer(0), 0)
        batch = scheduler.take()
        assert not scheduler.complete("a", 0, answer(0), 0)
        scheduler.abandon("b", "its prompt failed every time")
        assert not scheduler.complete("b", 0, answer(0), 0)
    ledger.close()
    assert list(replay(path, SETTINGS, POLICY)) == [batch]


def test_a_file_that_is_there_is_not_written_over(path: Path) -> None:
    path.write_text("of another run\n")
    with pytest.raises(WrongUse, match=r"schedule\.jsonl holds the schedule of another run; give a new file"):
        RecordingScheduler(path, SETTINGS, POLICY)
    assert path.read_text() == "of another run\n"


def test_a_resumed_run_is_not_recorded() -> None:
    with pytest.raises(WrongUse, match="a resumed run cannot record its schedule"):
        RecordingScheduler.restore(SETTINGS, POLICY)


def test_a_run_that_fails_leaves_a_closed_file(path: Path) -> None:
    with pytest.raises(RunFailed), RecordingScheduler(path, SETTINGS, POLICY) as scheduler:
        scheduler.restart(["z"])
    with pytest.raises(ValueError, match="closed file"):
        scheduler.publish()
    assert verbs(path) == ["schedule"]
