"""Small soaks: a worker that is killed and resumed, and a supervisor that is killed itself."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from queue_killing import kill_self, run_in_child
from soak_runs import all_kept, small_order, soaked

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.queue.ledger_store import Durability
from pangu_verl.simulate.soak import lives
from pangu_verl.simulate.soak.running import SoakProgress, resume_soak, run_soak


def ignore(news: SoakProgress) -> None:
    pass


@pytest.mark.parametrize("policy", ["wait", "drop", "mask"])
def test_killed_in_every_way_a_run_keeps_its_bound_and_loses_nothing(tmp_path: Path, policy: str) -> None:
    report = soaked(tmp_path, small_order(policy=policy))
    assert all_kept(report)
    assert report.samples == 40 * 32 and report.max_trained_lag == 1
    assert report.kills_by_aim == {"any_time": 1, "transaction": 1, "checkpoint": 1, "resumption": 1}
    assert report.kills_in_transactions >= 1
    assert report.resumptions > 0 and report.of_resumptions["kept_trajectories"] > 0


def test_several_steps_a_version_and_full_durability_keep_the_same(tmp_path: Path) -> None:
    order = small_order(policy="wait", steps_per_version=2, bound_versions=2, durability=Durability.FULL, kills=5)
    report = soaked(tmp_path, order)
    assert all_kept(report)
    assert report.kills == 5 and report.max_trained_lag <= 2


def test_without_kills_nothing_is_resumed(tmp_path: Path) -> None:
    report = soaked(tmp_path, small_order(kills=0, samples=500))
    assert all_kept(report)
    assert (report.kills, report.resumptions, report.other_ends, report.taken_back_groups) == (0, 0, 0, 0)


def test_a_soak_goes_on_after_its_own_process_was_killed(tmp_path: Path) -> None:
    heard: list[SoakProgress] = []

    def die_late(news: SoakProgress) -> None:
        heard.append(news)
        if len(heard) == 30:
            kill_self()

    def begin() -> None:
        run_soak(tmp_path, small_order(kills=1), die_late)

    assert run_in_child(begin) == signal.SIGKILL
    report = resume_soak(tmp_path, ignore)
    assert all_kept(report)
    assert (report.kills, report.other_ends, report.samples) == (1, 1, 40 * 32)


def test_a_soak_that_is_over_is_audited_again_and_says_the_same(tmp_path: Path) -> None:
    report = soaked(tmp_path, small_order(kills=0, samples=200))
    assert resume_soak(tmp_path, ignore) == report
    assert json.loads((tmp_path / "soak.json").read_text()) == report.to_json()


def test_a_kill_after_the_last_checkpoint_leaves_nothing_to_do(tmp_path: Path) -> None:
    soaked(tmp_path, small_order(kills=0, samples=200))
    (tmp_path / "lives.jsonl").unlink()
    report = resume_soak(tmp_path, ignore)
    assert all_kept(report)
    assert (report.samples, report.other_ends, report.resumptions, report.taken_back_groups) == (224, 1, 1, 0)


def test_a_folder_with_a_soak_is_not_begun_again(tmp_path: Path) -> None:
    small_order().write(tmp_path / "order.json")
    with pytest.raises(WrongUse, match="holds a soak already"):
        run_soak(tmp_path, small_order(), ignore)


def test_a_folder_without_a_soak_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="holds no soak"):
        resume_soak(tmp_path, ignore)


def test_a_worker_that_fails_by_itself_ends_the_soak_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lives, "WORKER", (sys.executable, "-c", "raise SystemExit('no room left')"))
    with pytest.raises(RunFailed, match=r"life 0 .* exit code 1: no room left"):
        run_soak(tmp_path, small_order(), ignore)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("policy", "admission"),
        ("samples", 0),
        ("kills", -1),
        ("bound_versions", -1),
        ("seed", -1),
        ("batch_groups", 0),
        ("trajectories", 0),
        ("steps_per_version", 0),
        ("steps_per_checkpoint", 0),
    ],
)
def test_an_order_that_cannot_be_run_is_refused(field: str, value: object) -> None:
    with pytest.raises(WrongUse, match=field if field != "policy" else "our own policies"):
        small_order(**{field: value})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"samples": 1}'])
def test_a_damaged_order_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "order.json").write_text(text)
    with pytest.raises(RunFailed, match=r"order\.json cannot be read"):
        resume_soak(tmp_path, ignore)
