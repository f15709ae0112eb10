"""What is said of cores, memory, disk, shared memory and open files. The machine is a fake."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from doctor_fakes import by_name, statuses

from pangu_verl.doctor import Finding, machine

GIB = 2**30


@dataclass
class Fake:
    """A machine with enough of everything; a test takes some away."""

    container_limit: Path
    cores: int = 8
    total_gib: float = 64
    available_gib: float = 48
    disk_gib: tuple[float, float] = (100, 80)
    shared_memory_gib: float = 32
    files: tuple[int, int] = (1024, 1 << 20)

    def disk_usage(self, folder: Path) -> SimpleNamespace:
        total, free = (64, self.shared_memory_gib) if str(folder) == "/dev/shm" else self.disk_gib
        return SimpleNamespace(total=total * GIB, free=int(free * GIB))

    def virtual_memory(self) -> SimpleNamespace:
        return SimpleNamespace(total=int(self.total_gib * GIB), available=int(self.available_gib * GIB))

    def process(self) -> SimpleNamespace:
        return SimpleNamespace(cpu_affinity=lambda: list(range(self.cores)))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    fake = Fake(tmp_path / "memory.max")
    monkeypatch.setattr(machine.psutil, "Process", fake.process)
    monkeypatch.setattr(machine.psutil, "virtual_memory", fake.virtual_memory)
    monkeypatch.setattr(machine.shutil, "disk_usage", fake.disk_usage)
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: fake.files)
    monkeypatch.setattr(machine, "_CGROUP_LIMITS", (str(fake.container_limit),))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    return fake


def examine(target: Any = "cpu") -> dict[str, Finding]:
    return by_name(machine.examine(target))


@pytest.mark.parametrize("target", ["cpu", "cuda", "npu"])
def test_a_machine_with_enough_of_everything_is_ok(fake: Fake, target: str) -> None:
    assert statuses(examine(target)) == {"ok"}


def test_this_machine_can_be_examined() -> None:
    assert {"cores", "memory", "disk of this folder", "disk of Ray", "/dev/shm", "open files"} == set(examine())


def test_one_core_is_few_for_the_quickstart(fake: Fake) -> None:
    fake.cores = 1
    assert examine("cpu")["cores"].status == "warning"
    assert examine("npu")["cores"].status == "ok"


def test_memory_that_others_hold_is_a_warning(fake: Fake) -> None:
    fake.available_gib = 10
    finding = examine()["memory"]
    assert finding.status == "warning"
    assert finding.found.startswith("10.0 of 64.0 GiB available")
    assert str(machine.QUICKSTART_PEAK_GIB) in finding.found


def test_a_machine_with_too_little_memory_is_a_problem_on_a_cpu_alone(fake: Fake) -> None:
    fake.total_gib, fake.available_gib = 8, 8
    assert examine("cpu")["memory"].status == "problem"
    assert examine("cuda")["memory"].status == "ok"


def test_the_limit_of_a_container_counts(fake: Fake) -> None:
    fake.container_limit.write_text(f"{8 * GIB}\n")
    finding = examine()["memory"]
    assert finding.status == "problem"
    assert finding.found.startswith("8.0 of 8.0 GiB available")


@pytest.mark.parametrize("text", ["max", "", "-1", "many"])
def test_a_container_without_a_limit_has_the_machines(fake: Fake, text: str) -> None:
    fake.container_limit.write_text(text)
    assert examine()["memory"].status == "ok"


def test_a_nearly_full_disk_is_a_warning(fake: Fake) -> None:
    fake.disk_gib = (20, 1.5)
    found = examine()
    assert found["disk of this folder"].status == found["disk of Ray"].status == "warning"
    assert "1.5 GiB free" in found["disk of this folder"].found


def test_a_disk_that_ray_calls_full_is_a_warning_even_with_room(fake: Fake) -> None:
    fake.disk_gib = (1000, 40)
    found = examine()
    assert found["disk of this folder"].status == "ok"
    assert "96% full" in found["disk of Ray"].found


def test_rays_folder_is_taken_from_its_variable(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert str(tmp_path) in examine()["disk of Ray"].found


def test_a_folder_for_ray_that_is_not_there_is_a_problem(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/no/such/folder")
    assert examine()["disk of Ray"].status == "problem"


def test_the_shared_memory_of_a_plain_container_is_a_warning(fake: Fake) -> None:
    fake.shared_memory_gib = 0.0625
    finding = examine()["/dev/shm"]
    assert finding.status == "warning"
    assert "--shm-size" in finding.advice


def test_shared_memory_need_not_exceed_what_ray_would_take(fake: Fake) -> None:
    fake.available_gib, fake.shared_memory_gib = 10, 3.5
    assert examine()["/dev/shm"].status == "ok"


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ((256, 1024), "warning"),
        ((1024, 4096), "ok"),
        ((8192, 8192), "ok"),
        ((1024, resource.RLIM_INFINITY), "ok"),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), "ok"),
    ],
)
def test_few_open_files_are_a_warning_where_ray_cannot_raise_the_limit(
    fake: Fake, files: tuple[int, int], status: str
) -> None:
    fake.files = files
    assert examine()["open files"].status == status
