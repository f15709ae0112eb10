"""The queue's benchmark as a command: what it writes of a few entries, and that its name stands in nobody's way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "systems" / "queue.py"


def run(*arguments: object, script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *map(str, arguments)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_every_part_without_servers_is_measured_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    ended = run("--quick", "--parts", "disk,batches,selecting,recovery", "--folder", tmp_path, "--output", path)
    assert ended.returncode == 0, ended.stderr
    record = json.loads(path.read_text())
    assert set(record["parts"]) == {"disk", "batches", "selecting", "recovery"}
    assert {"commit", "versions", "machine", "seed", "sqlite", "file_system"} <= set(record)
    assert record["parts"]["recovery"]["a tenth in work"]["trajectories"] == 100 * 8 + 100 * 4
    assert len(record["targets"]) == 14
    assert "<svg" in path.with_suffix(".svg").read_text()
    assert {file.name for file in tmp_path.iterdir()} == {path.name, "figures.svg"}


def test_an_unknown_part_is_wrong_use() -> None:
    ended = run("--parts", "disks")
    assert ended.returncode == 2
    assert "there is no part disks" in ended.stderr


def test_a_missing_folder_is_wrong_use(tmp_path: Path) -> None:
    assert run("--folder", tmp_path / "nowhere", "--parts", "disk").returncode == 2


def test_other_benchmarks_of_the_folder_get_the_queue_of_the_library() -> None:
    statement = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import queue; print(queue.Queue(), queue.__file__)"
    )
    ended = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=False)
    assert "queue.Queue" in ended.stdout, ended.stderr
    assert str(SCRIPT) not in ended.stdout
