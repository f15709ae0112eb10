"""What the machine offers: cores, memory, disk, shared memory, open files, against what a run takes of them.

Only a run on a CPU has been measured; on other targets the numbers are shown and judged where Ray's own limits do.
"""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import psutil

from pangu_verl.doctor.findings import Finding
from pangu_verl.integrations.verl.config_lint import Target

_GIB = 2**30
#: Peak of the quickstart's memory on two cores: the README's table, from benchmarks/systems/results.
QUICKSTART_PEAK_GIB = 15.1
_QUICKSTART_CORES = 2
#: Two checkpoints of the quickstart's model with its optimizer, and the report.
_RUN_FOLDER_GIB = 5.0
#: Ray stores nothing more on a disk that is this full.
_RAY_FULL_SHARE = 0.95
_RAY_TEMPORARY_GIB = 2.0
#: Ray's object store: its share of the memory, and the size from which a smaller /dev/shm is an error.
_OBJECT_STORE_SHARE = 0.3
_OBJECT_STORE_BYTES = 10**10
#: Below the first Ray warns, the second it recommends, the third it raises the soft limit to.
_FEW_FILES, _ENOUGH_FILES, _RAISED_FILES = 4096, 8192, 65536
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def examine(target: Target) -> list[Finding]:
    """The machine that this process runs on."""
    return [
        _cores(target),
        _memory(target),
        _disk("disk of this folder", Path.cwd(), _RUN_FOLDER_GIB, "free some, or start runs elsewhere with --run-dir"),
        _ray_disk(),
        _shared_memory(),
        _open_files(),
    ]


def _cores(target: Target) -> Finding:
    process = psutil.Process()
    usable = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1
    found = f"{usable} usable"
    if target == "cpu" and usable < _QUICKSTART_CORES:
        return Finding(
            name="cores",
            status="warning",
            found=f"{found}, the quickstart was measured on {_QUICKSTART_CORES}",
            advice="allow this process more cores (taskset, container limits), or be patient",
        )
    return Finding(name="cores", status="ok", found=found)


def _memory(target: Target) -> Finding:
    memory = psutil.virtual_memory()
    limit = _container_limit_bytes()
    total_gib = min(memory.total, limit or memory.total) / _GIB
    available_gib = min(memory.available / _GIB, total_gib)
    found = f"{available_gib:.1f} of {total_gib:.1f} GiB available"
    if target != "cpu" or available_gib >= QUICKSTART_PEAK_GIB:
        return Finding(name="memory", status="ok", found=found)
    enough = total_gib >= QUICKSTART_PEAK_GIB
    return Finding(
        name="memory",
        status="warning" if enough else "problem",
        found=f"{found}, the quickstart with SmolLM2 takes up to {QUICKSTART_PEAK_GIB} GiB",
        advice="end other programs first" if enough else "use --model tiny, or a machine with more memory",
        source="README of pangu-verl, figures of the quickstart",
    )


def _container_limit_bytes() -> int | None:
    """What a container may use; None outside of one, or where it is not limited."""
    for name in _CGROUP_LIMITS:
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdecimal() else None
    return None


def _disk(name: str, folder: Path, needed_gib: float, advice: str) -> Finding:
    free_gib = shutil.disk_usage(folder).free / _GIB
    found = f"{free_gib:.1f} GiB free in {folder}"
    if free_gib >= needed_gib:
        return Finding(name=name, status="ok", found=found)
    return Finding(name=name, status="warning", found=f"{found}, a run writes up to {needed_gib:g}", advice=advice)


def _ray_disk() -> Finding:
    folder = Path(os.environ.get("RAY_TMPDIR") or "/tmp")
    name, advice = "disk of Ray", "free some, or name a folder on another disk in RAY_TMPDIR"
    if not folder.is_dir():
        return Finding(
            name=name,
            status="problem",
            found=f"Ray's temporary folder {folder} does not exist",
            advice="make it, or unset RAY_TMPDIR",
        )
    usage = shutil.disk_usage(folder)
    used_share = 1 - usage.free / usage.total
    if used_share < _RAY_FULL_SHARE:
        return _disk(name, folder, _RAY_TEMPORARY_GIB, advice)
    return Finding(
        name=name,
        status="warning",
        found=f"the disk of {folder} is {used_share:.0%} full; from {_RAY_FULL_SHARE:.0%} on Ray puts no objects there",
        advice=advice,
        source="https://docs.ray.io/en/latest/ray-core/objects/object-spilling.html",
    )


def _shared_memory() -> Finding:
    name, folder = "/dev/shm", Path("/dev/shm")
    if not folder.is_dir():
        return Finding(
            name=name,
            status="warning",
            found="does not exist; Ray keeps its objects in files instead, which is slow",
            advice="mount a tmpfs on /dev/shm",
        )
    free_bytes = shutil.disk_usage(folder).free
    wanted_bytes = min(_OBJECT_STORE_SHARE * psutil.virtual_memory().available, _OBJECT_STORE_BYTES)
    found = f"{free_bytes / _GIB:.1f} GiB free"
    if free_bytes >= wanted_bytes:
        return Finding(name=name, status="ok", found=found)
    return Finding(
        name=name,
        status="warning",
        found=f"{found}, Ray's object store wants {wanted_bytes / _GIB:.1f} and goes to a file instead, which is slow; "
        "verl's weight transfer without device handles needs a bucket (2 GiB) for each rollout worker here",
        advice="start the container with --shm-size (30% of the memory or more), or mount /dev/shm larger",
        source="ray 2.60.0, _private/services.py:2225",
    )


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = _RAISED_FILES if hard == resource.RLIM_INFINITY else min(hard, _RAISED_FILES)
    allowed = reachable if soft == resource.RLIM_INFINITY else max(soft, reachable)
    found = f"up to {allowed} (Ray raises the limit by itself)"
    if allowed >= _FEW_FILES:
        return Finding(name="open files", status="ok", found=found)
    return Finding(
        name="open files",
        status="warning",
        found=found,
        advice=f"raise the hard limit: ulimit -Hn {_ENOUGH_FILES}, or LimitNOFILE of the service",
        source="https://github.com/ray-project/ray/issues/11239",
    )
