"""What stands between engine and scheduler in a soak: commits, evidence, answers that nobody waits for, hopeless prompts."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from queue_ledgers import copied, new_ledger, opened
from rich.console import Console
from simulate_runs import POLICIES, WrittenTrace

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import LIVE_STATES, Group, Segment, State, Trajectory
from pangu_verl.queue.ledger import Ledger
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.soak import trainer
from pangu_verl.simulate.soak.log import ConsumptionLog
from pangu_verl.simulate.soak.payloads import Payloads
from pangu_verl.simulate.soak.progress import soak_progress
from pangu_verl.simulate.soak.running import SoakProgress
from pangu_verl.simulate.soak.trainer import Trainer

TRACE = WrittenTrace([[10, 10]])


class Soaked:
    """A trainer on a ledger of its own, one group of two a step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger: Ledger = new_ledger(folder / "ledger.sqlite")
        self.scheduler = Scheduler(
            SchedulerSettings(batch_groups=1, bound_versions=2), POLICIES["wait"], record=self.ledger
        )
        self.on_taken: Callable[[Batch], None] = lambda batch: None
        self.num_commits = 0
        self.trainer = Trainer(
            self.scheduler,
            self.ledger,
            ConsumptionLog(folder / "consumption" / "life-00000.jsonl"),
            Payloads({}, np.random.default_rng(0)),
            np.random.default_rng(0),
            on_commit=self.count_commit,
            on_taken=lambda batch: self.on_taken(batch),
        )

    def count_commit(self) -> None:
        self.num_commits += 1

    def start(self, index: int) -> Group:
        self.trainer.admit([TRACE.prompt(index)])
        [group] = self.trainer.dispatch(1)
        return group

    def finish(self, group: Group) -> None:
        for member in range(2):
            assert self.trainer.complete(group.key, member, made(), group.attempt)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "consumption" / "life-00000.jsonl").open()]


def made() -> Trajectory:
    return Trajectory((Segment(0, 10),))


@pytest.fixture
def soaked(tmp_path: Path) -> Soaked:
    return Soaked(tmp_path)


def test_a_step_is_committed_and_written_down_before_it_is_handed_out(soaked: Soaked) -> None:
    seen: list[tuple[dict[State, int], object]] = []

    def look(batch: Batch) -> None:
        with opened(copied(soaked.ledger.path, soaked.folder / "copy.sqlite")) as found:
            seen.append((found.counts(), soaked.lines()[-1]["step"]))

    soaked.on_taken = look
    soaked.finish(soaked.start(0))
    assert soaked.trainer.take() is not None
    [(counts, step)] = seen
    assert counts[State.CONSUMED] == 1 and step == 0


def test_verbs_share_a_commit(soaked: Soaked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "VERBS_PER_COMMIT", 4)
    for index in range(6):
        soaked.trainer.admit([TRACE.prompt(index)])
    assert soaked.num_commits == 1
    with opened(copied(soaked.ledger.path, soaked.folder / "copy.sqlite")) as found:
        assert len(list(found.groups(LIVE_STATES))) == 4


def test_answers_sent_twice_and_too_late_are_refused_and_counted(
    soaked: Soaked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "REPEATED_ANSWER_SHARE", 1.0)
    monkeypatch.setattr(trainer, "LATE_ANSWER_SHARE", 1.0)
    group = soaked.start(0)
    soaked.trainer.complete(group.key, 0, made(), group.attempt)
    soaked.trainer.restart([group.key])
    soaked.trainer.clear_given_up()
    assert soaked.trainer.counts == {
        "repeated_answers": 1,
        "restarted_groups": 1,
        "late_answers": 1,
        "wasted_tokens": 10,
    }
    assert not soaked.scheduler.live[group.key].finished


def test_a_scheduler_that_takes_an_answer_twice_ends_the_soak(soaked: Soaked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "REPEATED_ANSWER_SHARE", 1.0)
    group = soaked.start(0)
    monkeypatch.setattr(soaked.scheduler, "complete", lambda *answer: True)
    with pytest.raises(RunFailed, match="took trajectory 1 of group 'p0', attempt 0, as new"):
        soaked.trainer.complete(group.key, 1, made(), group.attempt)


def test_a_prompt_that_loses_its_server_again_and_again_is_abandoned(soaked: Soaked) -> None:
    group = soaked.start(0)
    for _ in range(trainer.MOST_ATTEMPTS):
        assert soaked.trainer.restart([group.key]) == [group]
        soaked.trainer.dispatch(1)
    soaked.trainer.commit()
    assert not soaked.scheduler.live
    assert soaked.ledger.counts()[State.ABANDONED] == 1
    assert soaked.trainer.counts["abandoned_groups"] == 1


def test_publications_are_written_down(soaked: Soaked) -> None:
    soaked.trainer.publish()
    assert soaked.trainer.publish() == 2
    assert soaked.lines() == [{"published": 1}, {"published": 2}]


def test_progress_shows_samples_and_kills_on_a_terminal() -> None:
    screen = StringIO()
    with soak_progress(Console(file=screen, force_terminal=True, width=120), 100, 4) as tell:
        tell(SoakProgress(samples=50, kills=1))
    assert "kill 1/4" in screen.getvalue() and "50/100" in screen.getvalue()


def test_progress_is_quiet_elsewhere_until_there_is_something_to_say() -> None:
    screen = StringIO()
    with soak_progress(Console(file=screen), 100, 4) as tell:
        tell(SoakProgress(samples=50, kills=1))
    assert screen.getvalue() == ""
