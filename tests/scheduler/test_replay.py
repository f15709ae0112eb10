"""A replay makes the recorded batches again, bit for bit, and stops by name at whatever is not as recorded."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_runs import (
    LINES,
    POLICY,
    SETTINGS,
    RandomRun,
    Step,
    answer,
    change_line,
    events,
    priority,
    prompts,
    record_by_hand,
)
from scheduler_made import made_settings, policies

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.entries import Group
from pangu_verl.queue.priority import Priority
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.payloads import read_payloads
from pangu_verl.scheduler.policies import Drop, Mask, Wait
from pangu_verl.scheduler.recording import RecordingScheduler
from pangu_verl.scheduler.replay import replay
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import StalenessPolicy

TERMS = ("deadline_slack", "task_share_deficit", "expected_length", "informativeness", "age")
weights = st.dictionaries(st.sampled_from(TERMS), st.floats(-4.0, 4.0), max_size=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "schedule.jsonl"


def replayed(path: Path) -> list[Batch]:
    return list(replay(path, SETTINGS, POLICY))


# --- the same again ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), made=made_settings(), policy=policies, weights=weights)
def test_a_replay_gives_the_recorded_batches_arrays_and_metrics_bit_for_bit(
    seed: int, made: SchedulerSettings, policy: StalenessPolicy, weights: dict[str, float]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = RandomRun(Path(folder), seed, made, policy, priority(**weights)).play(400)
        found = [
            Step.of(batch, read_payloads(run.folder / "payloads", batch.step))
            for batch in replay(run.path, made, policy, priority(**weights))
        ]
        assert [step.text for step in found] == [step.text for step in run.steps]
        assert [step.arrays for step in found] == [step.arrays for step in run.steps]
        assert [step.metrics for step in found] == [step.metrics for step in run.steps]


@pytest.mark.parametrize("policy", [Wait(), Drop(), Mask(least_fresh_share=0.6)], ids=lambda policy: policy.name)
def test_the_random_runs_do_all_that_can_be_recorded(tmp_path: Path, policy: StalenessPolicy) -> None:
    made = SchedulerSettings(batch_groups=2, bound_versions=1, task_bounds={"code": 2})
    run = RandomRun(tmp_path, 0, made, policy, priority(age=1.0)).play(600)
    lines = events(run.path)
    assert {line["verb"] for line in lines} == set(LINES)
    assert {line["is_new"] for line in lines if line["verb"] == "complete"} == {True, False}
    evicted = Counter(bool(line["keys"]) for line in lines if line["verb"] == "evict")
    assert bool(evicted[True]) == (policy.name != "wait")
    assert any(line["verb"] == "restart" and line["keys"] for line in lines)
    masks = [masked for line in lines if line["verb"] == "take" for group in line["masked_tokens"] for masked in group]
    assert any(masks) == policy.masks_tokens
    assert len(run.steps) > 10


def test_a_run_with_every_verb_is_replayed(path: Path) -> None:
    batches = record_by_hand(path)
    assert [line["verb"] for line in events(path)] == list(LINES)
    assert replayed(path) == batches


class Impatient:
    """Gives up groups of which something has arrived, also while they run: it matters when it is asked."""

    name = "impatient"
    masks_tokens = True

    def is_waited_for(self, group: Group) -> bool:
        return False

    def gives_up(self, group: Group, next_version: int, bound_versions: int) -> bool:
        return bool(group.finished) and group.attempt < 1


def test_a_policy_is_asked_about_a_group_when_it_was_asked_in_the_run(path: Path) -> None:
    made = SchedulerSettings(batch_groups=1, bound_versions=1)
    with RecordingScheduler(path, made, Impatient()) as scheduler:
        scheduler.admit(prompts("a", "b", trajectories=2))
        scheduler.dispatch(2)
        assert scheduler.evict() == []
        for key, member in (("a", 0), ("b", 0), ("b", 1)):
            scheduler.complete(key, member, answer(0), 0)
        assert [group.key for group in scheduler.evict()] == ["b"]
    assert list(replay(path, made, Impatient())) == []


# --- a run that was killed ---------------------------------------------------------------------------------------------


def test_a_schedule_cut_off_anywhere_is_replayed_as_far_as_its_whole_lines_go(path: Path) -> None:
    batches = record_by_hand(path)
    whole = path.read_bytes()
    heading_end = whole.index(b"\n")
    for cut in [*range(heading_end, len(whole), 5), len(whole) - 1, len(whole)]:
        path.write_bytes(whole[:cut])
        takes = sum(line.startswith(b'{"verb":"take"') and line.endswith(b"}") for line in whole[:cut].split(b"\n"))
        assert replayed(path) == batches[:takes]


@pytest.mark.parametrize("tail", [b"\0" * 100, b"\xff\xfe", b'{"verb":"tak', b"[1, 2", b"{}"])
def test_a_last_line_that_is_none_is_passed_over(path: Path, tail: bytes) -> None:
    batches = record_by_hand(path)
    path.write_bytes(path.read_bytes() + tail)
    assert replayed(path) == batches


# --- damage ------------------------------------------------------------------------------------------------------------

DAMAGE = [
    b"", b"3", b"null", b"[]", b"\xff\xfe{", b"\0\0", b'{"verb":"taken"}', b'{"verb":["take"]}', b'{"verb":"take","step":0}',
    b'{"keys":[]}', b'{"verb":"complete","key":"a","member":0,"attempt":0,"segments":[[1]],"reward":null,"is_new":true}',
    b'{"verb":"admit","prompts":[{"key":"d"}]}', b'{"verb":"admit","prompts":[{"kez":"d","task":"t","trajectories":1}]}',
    b'{"verb":"admit","prompts":7}', b'{"verb":"schedule","format":1}', b"[" * 200_000,
]  # fmt: skip


@pytest.mark.parametrize("line", DAMAGE, ids=lambda line: repr(line[:30]))
@pytest.mark.parametrize("number", [2, 7, len(LINES)])
def test_a_damaged_line_in_the_middle_is_named(path: Path, line: bytes, number: int) -> None:
    record_by_hand(path)
    lines = path.read_bytes().split(b"\n")
    lines[number - 1] = line
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(RunFailed) as caught:
        replayed(path)
    text = str(caught.value)
    assert text.startswith(f"{path}, line {number}: ") and text.endswith("the file is damaged")
    assert "\n" not in text and len(text) < 400


def test_a_missing_line_is_told_by_the_first_decision_that_differs(path: Path) -> None:
    record_by_hand(path)
    lines = path.read_bytes().split(b"\n")
    del lines[LINES.index("publish")]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(RunFailed, match=r"line 8: the recorded run did publish with .*2.*, the replay with .*1"):
        replayed(path)


# --- other decisions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "fields"),
    [
        (3, {"keys": ["a", "c"]}),
        (3, {"keys": ["b", "a"]}),
        (3, {"keys": ["a", "b", "c", "d"]}),
        (4, {"is_new": False}),
        (5, {"is_new": True}),
        (6, {"keys": ["a"]}),
        (7, {"keys": ["b"]}),
        (7, {"step": 1}),
        (7, {"masked_tokens": [[2]]}),
        (8, {"version": 2}),
        (10, {"keys": []}),
        (12, {"keys": ["b", "b"]}),
    ],
)
def test_a_decision_that_is_not_the_recorded_one_stops_the_replay_with_both(
    path: Path, number: int, fields: dict[str, Any]
) -> None:
    record_by_hand(path)
    change_line(path, number, **fields)
    with pytest.raises(RunFailed) as caught:
        replayed(path)
    verb = LINES[number - 1]
    assert str(caught.value).startswith(f"{path}, line {number}: the recorded run did {verb} with ")
    assert "the replay with " in str(caught.value)


@pytest.mark.parametrize(
    ("number", "fields", "reason"),
    [
        (2, {"prompts": [{"key": "a", "task": "t", "trajectories": 1}] * 2}, "'a' came again"),
        (4, {"key": "z"}, "'z' is no live group"),
        (4, {"member": 5}, "but 5 came back"),
        (4, {"segments": [[9, 5]]}, "tokens of policy version 9"),
        (12, {"keys": ["z"]}, "'z' is no live group"),
        (13, {"bound_versions": -1}, "not -1"),
        (14, {"key": "a"}, "'a' is no live group"),
    ],
)
def test_what_cannot_be_done_again_is_named_with_its_line(
    path: Path, number: int, fields: dict[str, Any], reason: str
) -> None:
    record_by_hand(path)
    change_line(path, number, **fields)
    with pytest.raises(RunFailed) as caught:
        replayed(path)
    text = str(caught.value)
    assert text.startswith(f"{path}, line {number}: the recorded run did {LINES[number - 1]}, the replay cannot: ")
    assert reason in text


def test_a_step_that_the_replay_would_not_begin_is_named(path: Path) -> None:
    record_by_hand(path)
    lines = path.read_bytes().split(b"\n")
    lines.insert(7, lines[6])
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(RunFailed, match=r"line 8: the recorded run did take with .*the replay with \{\"keys\": \[\]\}"):
        replayed(path)


def test_batches_before_the_first_other_decision_are_given(path: Path) -> None:
    batches = record_by_hand(path)
    change_line(path, len(LINES), step=7)
    again = replay(path, SETTINGS, POLICY)
    assert next(again) == batches[0]
    with pytest.raises(RunFailed, match="line 18"):
        next(again)


# --- another run -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "made", "policy", "order"),
    [
        ("policy", SETTINGS, Wait(), None),
        ("policy", SETTINGS, Drop(most_evictions=1), None),
        ("settings", SchedulerSettings(batch_groups=1, bound_versions=2), POLICY, None),
        ("settings", SchedulerSettings(batch_groups=1, bound_versions=1, task_shares={"a": 1.0}), POLICY, None),
        ("priority", SETTINGS, POLICY, priority(age=1.0)),
    ],
)
def test_a_schedule_of_another_run_is_refused_with_both_sides(
    path: Path, what: str, made: SchedulerSettings, policy: StalenessPolicy, order: Priority | None
) -> None:
    record_by_hand(path)
    with pytest.raises(WrongUse) as caught:
        list(replay(path, made, policy, order))
    assert str(caught.value).startswith(f"{path} was recorded with {what} ")
    assert ", this run has " in str(caught.value)


def test_weights_of_zero_make_no_other_run(path: Path) -> None:
    batches = record_by_hand(path)
    assert list(replay(path, SETTINGS, POLICY, priority(age=0.0))) == batches


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"{}\n", b"[1]\n", b"3\n", b"\xff\n", b'{"verb":"admit","prompts":[]}\n', b'{"verb":"sche'],
)
def test_a_file_that_is_no_schedule_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(
        WrongUse, match=r"schedule\.jsonl is no schedule of format 1; give the schedule.jsonl of a run$"
    ):
        replayed(path)


def test_a_schedule_of_another_format_is_refused(path: Path) -> None:
    record_by_hand(path)
    change_line(path, 1, format=2)
    with pytest.raises(WrongUse, match="is no schedule of format 1"):
        replayed(path)


def test_a_schedule_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(WrongUse, match=r"schedule\.jsonl cannot be read \(.*No such file"):
        replayed(path)
