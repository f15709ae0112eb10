"""The counts that all reward workers share, with the actor's class called as it is."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from judged_rows import judged_row, opinion

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl import shared_state
from pangu_verl.integrations.verl.callbacks import CheckpointEvents
from pangu_verl.integrations.verl.shared_state import STATE_FILE, Recorder, SharedState, restore_state, save_state
from pangu_verl.mars.settings import RewardSettings

SETTINGS = RewardSettings(unjudged_limit=0.5, unjudged_window_rows=8)
JUDGED, UNJUDGED = judged_row(), judged_row(None)


class Answer:
    """What a remote call returns: to be awaited, or handed to ``ray.get``."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Any:
        yield from ()
        return self.value


class Handle:
    """An actor's handle: ``handle.method.remote(...)`` runs at once."""

    def __init__(self, actor: SharedState) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._actor, name)

        class Method:
            @staticmethod
            def remote(*arguments: Any) -> Answer:
                return Answer(method(*arguments))

        return Method


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> SharedState:
    made = SharedState(SETTINGS)
    monkeypatch.setattr(shared_state, "find_state", lambda: Handle(made))
    monkeypatch.setattr(ray, "get", lambda answer: answer.value)
    return made


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    messages: list[str] = []
    monkeypatch.setattr(shared_state, "report_failure", messages.append)
    return messages


def test_the_counts_are_metrics_by_source_and_domain(actor: SharedState) -> None:
    for row in (JUDGED, JUDGED, UNJUDGED, judged_row(False, source="code", domain="code")):
        actor.record(row)
    found = shared_state.state_metrics()
    assert found["mars/maths/math/judged"] == 2
    assert found["mars/maths/math/passed"] == 2
    assert found["mars/maths/math/unjudged"] == 1
    assert found["mars/maths/math/seconds"] == 1.5
    assert (found["mars/code/code/judged"], found["mars/code/code/passed"]) == (1, 0)


def test_a_broken_source_is_reported_once(actor: SharedState, ended: list[str]) -> None:
    for _ in range(4):
        actor.record(UNJUDGED)
    assert ended == []
    for _ in range(4):
        actor.record(UNJUDGED)
    assert len(ended) == 1
    assert ended[0].startswith("reward source 'maths' could not judge 5 of its last 5 rows (5 times: no gold)")


def test_a_checkpoint_keeps_the_counts_and_resuming_goes_on_from_them(
    actor: SharedState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor.record(JUDGED)
    save_state(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]
    resumed = SharedState(SETTINGS)
    monkeypatch.setattr(shared_state, "find_state", lambda: Handle(resumed))
    restore_state(tmp_path)
    assert resumed.to_json() == actor.to_json()


def test_the_checkpoint_callback_keeps_the_counts_before_it_tells_the_plugins(
    actor: SharedState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = CheckpointEvents()
    seen: list[list[str]] = []
    monkeypatch.setattr(
        callback._plugins, "notify", lambda *_, folder, **__: seen.append([path.name for path in folder.iterdir()])
    )
    callback.on_save(trainer=None, global_step=3, checkpoint_dir=str(tmp_path))
    assert seen == [[STATE_FILE]]


def test_a_checkpoint_without_counts_counts_from_nothing(actor: SharedState, tmp_path: Path) -> None:
    actor.record(JUDGED)
    before = actor.to_json()
    restore_state(tmp_path)
    assert actor.to_json() == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 9}', b"\xff", b"[" * 100_000])
def test_counts_that_cannot_be_read_are_named_with_their_file(
    actor: SharedState, tmp_path: Path, content: bytes
) -> None:
    actor.record(JUDGED)
    before = actor.to_json()
    (tmp_path / STATE_FILE).write_bytes(content)
    with pytest.raises(RunFailed) as caught:
        restore_state(tmp_path)
    assert str(tmp_path / STATE_FILE) in str(caught.value)
    assert str(caught.value).endswith("; delete it to count rewards afresh")
    assert actor.to_json() == before


def test_under_verls_own_entry_point_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_state, "find_state", lambda: None)
    save_state(tmp_path)
    restore_state(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert shared_state.state_metrics() == {}


async def test_a_worker_neither_waits_for_the_actor_nor_fails_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("the actor is gone")

    monkeypatch.setattr(shared_state, "find_state", lambda: Gone())
    Recorder(SETTINGS).record(JUDGED)


async def test_a_worker_outlives_an_actor_that_answers_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Answer):
        def __await__(self) -> Any:
            yield from ()
            raise RuntimeError("the actor died")

    class Method:
        remote = staticmethod(lambda _: Failing(None))

    class Dying:
        record = Method

    monkeypatch.setattr(shared_state, "find_state", lambda: Dying())
    recorder = Recorder(SETTINGS)
    for _ in range(3):
        recorder.record(JUDGED)
        await asyncio.sleep(0)
    assert recorder.shared.routes == {}


async def test_workers_count_in_the_actor(actor: SharedState) -> None:
    Recorder(SETTINGS).record(JUDGED)
    assert shared_state.state_metrics()["mars/maths/math/judged"] == 1


async def test_a_worker_hears_what_all_of_them_measured(actor: SharedState) -> None:
    recorder = Recorder(SETTINGS)
    disputed = replace(JUDGED, opinions=(opinion("maths", True), opinion("verifier", False)))
    for _ in range(10):
        actor.record(disputed)
    recorder.record(JUDGED)
    await asyncio.sleep(0)
    assert recorder.shared.escalated("maths", "math") == {"accept"}
    assert shared_state.state_metrics()["mars/maths/math/audit_accept_wrong"] == 10


async def test_a_worker_knows_before_its_first_row_what_was_measured_earlier(actor: SharedState) -> None:
    for _ in range(10):
        actor.record(replace(JUDGED, opinions=(opinion("maths", True), opinion("verifier", False))))
    recorder = Recorder(SETTINGS)
    assert recorder.shared.routes == {}
    await recorder.listen()
    assert recorder.shared.escalated("maths", "math") == {"accept"}


def test_changes_by_gold_measurements_are_written_down_once(tmp_path: Path) -> None:
    rate = {"source": "maths", "domain": "math", "claim": "reject", "origin": "gold", "low": 0.2, "high": 0.4}
    (tmp_path / "gold.json").write_text(json.dumps({"rates": [{**rate, "audited": 100, "wrong": 30}]}))
    settings = RewardSettings(measurements=str(tmp_path / "gold.json"), trail_dir=str(tmp_path / "trail"))
    state = SharedState(settings)
    state.record(JUDGED)
    state.record(JUDGED)
    (change,) = (tmp_path / "trail" / "changes.jsonl").read_text().splitlines()
    assert json.loads(change)["after"] == "rejects escalated"


async def test_without_an_actor_a_worker_keeps_a_state_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_state, "find_state", lambda: None)
    recorder = Recorder(SETTINGS)
    for _ in range(10):
        recorder.record(replace(JUDGED, opinions=(opinion("maths", True), opinion("verifier", False))))
    assert recorder.shared.escalated("maths", "math") == {"accept"}


@pytest.mark.parametrize(
    ("has_ray", "has_actor", "expected"), [(False, False, False), (True, True, False), (True, False, True)]
)
def test_verls_own_entry_point_is_told_by_the_actor_that_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, has_ray: bool, has_actor: bool, expected: bool
) -> None:
    def get_actor(name: str) -> object:
        if not has_actor:
            raise ValueError(name)
        return object()

    monkeypatch.setattr(ray, "is_initialized", lambda: has_ray)
    monkeypatch.setattr(ray, "get_actor", get_actor)
    assert shared_state.trains_on_placeholders() is expected


def test_what_is_kept_is_plain_json(actor: SharedState, tmp_path: Path) -> None:
    actor.record(UNJUDGED)
    save_state(tmp_path)
    (tally,) = json.loads((tmp_path / STATE_FILE).read_text())["tallies"]
    assert tally == {
        "source": "maths",
        "domain": "math",
        "judged": 0,
        "passed": 0,
        "unjudged": {"no gold": 1},
        "seconds": 0.5,
    }
