"""Real runs under our scheduler whose processes are killed at random points: a server lost is no end, anything else is
one with a name, and along the line of checkpoints no prompt is lost, none trained on twice, no token over the bound.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_runs import SCHEDULED
from lineage_audit import audit, saved_step
from running_commands import Running, one_line

BOUND_VERSIONS = 1
BATCH_GROUPS = 8
OVERRIDES = (
    *SCHEDULED,
    "actor_rollout_ref.rollout.n_gpus_per_node=2",
    f"pangu.scheduler.bound_versions={BOUND_VERSIONS}",
)
SERVER = "CPUServer"
#: What ends a run, as Ray calls its process, and how it is named; nobody is left to name a driver. The task runner holds
#: trainer, feed and ledger.
FATAL = {
    "driver": None,
    "TaskRunnerV1": "task runner died",
    "RewardLoopWorker": "reward_loop_worker",
    "ScheduledAgentLoopWorker": "agent_loop_worker",
}
#: Each kills a server and then something fatal.
ROUNDS = 11
LONGEST_DELAY_S = 4.0


def kill_standalone_server(run: Running, which: int) -> None:
    """The first is the one on the trainer's devices, whose loss is an end."""
    run.workers(SERVER)[1 + which].send_signal(signal.SIGKILL)


def lost_servers(run: Running) -> float:
    metrics = run.metrics()
    return metrics[-1].get("scheduler/lost_servers_so_far/max", 0.0) if metrics else 0.0


@pytest.fixture
def running() -> Iterator[Callable[..., Running]]:
    """Start runs of which nothing is left after the test."""
    runs: list[Running] = []

    def start(folder: Path, *overrides: str, resume: bool = False) -> Running:
        runs.append(Running(folder, *OVERRIDES, *overrides, resume=resume))
        return runs[-1]

    yield start
    for run in runs:
        run.started.kill()


def test_a_run_that_loses_one_of_two_servers_goes_on_to_its_end(
    tmp_path: Path, running: Callable[..., Running]
) -> None:
    steps = 6
    run = running(tmp_path / "run", f"trainer.total_training_steps={steps}")
    run.reach_step(2)
    kill_standalone_server(run, which=0)
    code, errors = run.end()
    assert code == 0, errors
    assert len(run.metrics()) == steps == saved_step(run.folder)
    assert lost_servers(run) == 1
    audit(run.folder, batch_groups=BATCH_GROUPS, bound_versions=BOUND_VERSIONS)


@pytest.mark.slow
def test_a_lost_server_is_replaced_and_then_serves_alone(tmp_path: Path, running: Callable[..., Running]) -> None:
    run = running(tmp_path / "run")
    run.reach_step(1)
    kill_standalone_server(run, which=0)
    run.reach(lambda: run.metrics()[-1]["scheduler/servers/min"] == 1)
    run.reach(lambda: run.metrics()[-1]["scheduler/weights_checksum_replicas/max"] == 2)
    assert run.metrics()[-1]["scheduler/started_servers_so_far/max"] == 1
    kill_standalone_server(run, which=0)
    run.reach(lambda: lost_servers(run) == 2)
    run.reach_step(len(run.metrics()) + 2)
    run.kill()
    audit(run.folder, batch_groups=BATCH_GROUPS, bound_versions=BOUND_VERSIONS)


@pytest.mark.slow
def test_a_run_whose_last_server_died_waits_for_the_next(tmp_path: Path, running: Callable[..., Running]) -> None:
    run = running(tmp_path / "run", "actor_rollout_ref.rollout.n_gpus_per_node=1")
    run.reach_step(1)
    kill_standalone_server(run, which=0)
    run.reach(lambda: lost_servers(run) == 1 and run.metrics()[-1]["scheduler/servers/min"] == 1)
    run.reach_step(len(run.metrics()) + 2)
    run.kill()
    audit(run.folder, batch_groups=BATCH_GROUPS, bound_versions=BOUND_VERSIONS)


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run that is killed and resumed again and again."""
    return tmp_path_factory.mktemp("lineage") / "run"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
def test_killed_again_and_again_nothing_is_lost_or_trained_on_twice(
    lineage: Path, number: int, running: Callable[..., Running]
) -> None:
    points = random.Random(number)
    name = list(FATAL)[number % len(FATAL)]
    run = running(lineage, resume=number > 0)
    run.reach_step(points.randint(1, 2))
    time.sleep(points.uniform(0, LONGEST_DELAY_S))
    kill_standalone_server(run, points.randint(0, 1))
    run.reach(lambda: lost_servers(run) == 1)
    time.sleep(points.uniform(0, LONGEST_DELAY_S))
    if name == "driver":
        run.kill()
    else:
        points.choice(run.workers(name)).send_signal(signal.SIGKILL)
        code, errors = run.end()
        assert code == 1
        assert FATAL[name] in one_line(errors)
        assert run.leftovers() == []
    audit(lineage, batch_groups=BATCH_GROUPS, bound_versions=BOUND_VERSIONS)
