"""Runs that go wrong: each ends with one line that names the thing, leaves no Ray process and damages no checkpoint."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from command_runs import Finished, finish
from running_commands import LONG, Running, one_line

pytestmark = pytest.mark.slow


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    run = Running(tmp_path / "run")
    try:
        yield run
    finally:
        run.started.kill()


def rollout_server(run: Running) -> psutil.Process:
    children = psutil.Process(run.process.pid).children(recursive=True)
    return next(child for child in children if "CPUServer" in " ".join(child.cmdline()))


def test_a_killed_rollout_server_ends_the_run_by_name(running: Running) -> None:
    running.reach_step(2)
    rollout_server(running).send_signal(signal.SIGKILL)
    code, errors = running.end()
    assert code == 1
    assert "pangu_cpu_server_0 died" in one_line(errors)
    assert running.leftovers() == []


def test_a_killed_driver_leaves_no_process_and_resumes(running: Running, quickstart: Callable[..., Finished]) -> None:
    running.reach_step(3)
    running.process.send_signal(signal.SIGKILL)
    running.process.communicate()
    # Nobody is left to end them: Ray's own two agents look for their node about once a minute.
    assert running.leftovers(timeout_s=150) == []
    saved = int((running.folder / "checkpoints" / "latest_checkpointed_iteration.txt").read_text())
    resumed = quickstart(f"trainer.total_training_steps={saved + 1}", *LONG[1:], folder=running.folder, resume=True)
    assert resumed.code == 0, resumed.errors
    assert sorted(resumed.metrics("actor/grad_norm")) == [saved + 1]


def test_ctrl_c_leaves_a_resumable_run(running: Running) -> None:
    running.reach_step(2)
    running.process.send_signal(signal.SIGINT)
    code, errors = running.end()
    assert code == 1
    assert "--resume" in one_line(errors)
    assert running.leftovers() == []


def test_a_full_disk_while_checkpointing_keeps_the_earlier_checkpoint(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        folder = disk / "run"
        options = ["quickstart", "--model", "tiny", "--run-dir", str(folder), *LONG[:-1], "trainer.save_freq=1"]
        ended = finish(options, folder)
        assert ended.code == 1
        assert "no space left" in one_line(ended.errors), ended.errors
        latest = (folder / "checkpoints" / "latest_checkpointed_iteration.txt").read_text()
        assert (folder / "checkpoints" / f"global_step_{latest}" / "actor").is_dir()
        assert ended.leftovers == []
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("return 'good'", "returned 'good', expected a finite number"),
        ("raise KeyError('solution')", "raised KeyError"),
    ],
)
def test_a_broken_reward_ends_the_run_by_name(
    tmp_path: Path, quickstart: Callable[..., Finished], body: str, complaint: str
) -> None:
    module = tmp_path / "reward.py"
    module.write_text(f"def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n    {body}\n")
    ended = quickstart(f"reward.custom_reward_function.path={module}", *LONG)
    assert ended.code == 1
    assert complaint in one_line(ended.errors)
    assert ended.leftovers == []


def test_a_process_without_the_plugin_is_named(quickstart: Callable[..., Finished]) -> None:
    ended = quickstart("+ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_PLUGINS=none", *LONG)
    assert ended.code == 1
    assert "plugin" in one_line(ended.errors)
    assert ended.leftovers == []
