"""Control groups: where they may be made, what they bound, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.mars.code.rows import StdinTest
from pangu_verl.mars.code.running import run_test
from pangu_verl.mars.code.sandbox.control_groups import (
    NAME,
    ControlGroup,
    Place,
    make_group,
    places,
    remove_folders,
    remove_stale,
)
from pangu_verl.mars.code.sandbox.limits import Limits
from pangu_verl.mars.code.warm_process import WarmProcess

V1 = (
    "30 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "35 30 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "39 30 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
)
CONTAINER = "35 30 0:32 /docker/7 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory,pids\n"
TOGETHER = "35 30 0:32 / /cgroups/two\\040words rw - cgroup cgroup rw,pids,memory\n"


@pytest.mark.parametrize(
    ("membership", "mounts", "expected"),
    [
        (
            "9:pids:/\n4:memory:/a/b\n0::/\n",
            V1,
            [
                Place(Path("/sys/fs/cgroup/memory/a/b"), 1, ("memory",)),
                Place(Path("/sys/fs/cgroup/pids"), 1, ("pids",)),
            ],
        ),
        (
            "9:pids:/docker/7\n4:memory:/docker/7/x\n",
            CONTAINER,
            [
                Place(Path("/sys/fs/cgroup/memory/x"), 1, ("memory",)),
                Place(Path("/sys/fs/cgroup/memory"), 1, ("pids",)),
            ],
        ),
        ("4:memory,pids:/a\n", TOGETHER, [Place(Path("/cgroups/two words/a"), 1, ("memory", "pids"))]),
    ],
)
def test_groups_of_version_1_lie_below_our_own(membership: str, mounts: str, expected: list[Place]) -> None:
    assert places(membership, mounts) == expected


@pytest.mark.parametrize(
    ("membership", "mounts"),
    [
        ("", ""),
        ("4:memory:/a\n", V1),
        ("9:pids:/other\n4:memory:/other\n", CONTAINER),
        ("9:pids:/docker/77\n4:memory:/docker/77\n", CONTAINER),
        ("9:pids:/../a\n4:memory:/../a\n", V1),
    ],
)
def test_what_is_not_mounted_here_is_named(membership: str, mounts: str) -> None:
    with pytest.raises(OSError, match=r"no control groups for (memory|pids) are mounted here"):
        places(membership, mounts)


def unified(folder: Path, own: str, *, handing_down: str, bound: str = "max") -> list[Place]:
    """The places where the hierarchy is in ``folder``, our group is ``own``, and ``handing_down`` has controllers."""
    (folder / own).mkdir(parents=True, exist_ok=True)
    for group in (folder, folder / own):
        (group / "cgroup.subtree_control").write_text("")
    for name in ("memory.max", "pids.max"):
        (folder / own / name).write_text(bound + "\n")
    (folder / handing_down / "cgroup.subtree_control").write_text("cpu memory pids\n")
    return places(f"0::/{own}\n", f"30 23 0:28 / {folder} rw - cgroup2 cgroup2 rw,nsdelegate\n")


@pytest.mark.parametrize(("handing_down", "below"), [("a", "a"), (".", "")])
def test_group_of_version_2_lies_where_controllers_are_handed_down(
    tmp_path: Path, handing_down: str, below: str
) -> None:
    assert unified(tmp_path, "a", handing_down=handing_down) == [Place(tmp_path / below, 2, ("memory", "pids"))]


def test_bound_of_our_own_group_is_never_left(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="bounds this process"):
        unified(tmp_path, "a", handing_down=".", bound="1073741824")


def test_no_controller_is_switched_on(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(OSError, match="hands down memory and pids"):
        unified(tmp_path, "a", handing_down="other")


@given(st.lists(st.text("0:12/a.,\n -memorypids"), max_size=5).map("\n".join), st.text("/ -cgroup2,\\01 memory\n"))
def test_any_text_gives_places_or_a_reason(membership: str, mounts: str) -> None:
    with contextlib.suppress(OSError):
        places(membership, mounts)


def test_group_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"{NAME}.*memory.limit_in_bytes: No such file"):
        ControlGroup([Place(tmp_path, 1, ("memory",))])
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_gone_or_not_ours_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "full" / "inside").mkdir(parents=True)
    remove_folders([str(tmp_path / "gone"), str(tmp_path / "full")])
    assert (tmp_path / "full" / "inside").exists()


def test_only_old_empty_groups_of_our_name_are_cleared_away(tmp_path: Path) -> None:
    for name in (f"{NAME}old", f"{NAME}new", f"{NAME}used/inside", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in (f"{NAME}old", f"{NAME}used", "other"):
        os.utime(tmp_path / name, (0, 0))
    remove_stale(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{NAME}new", f"{NAME}used", "other"}


# --- where this machine lets us make groups --------------------------------------------------------------------------


@pytest.fixture
def group() -> Iterator[ControlGroup]:
    try:
        group = make_group()
    except OSError as error:
        pytest.skip(f"no control group may be made here: {error}")
    yield group
    group.remove()


def groups_of(pid: int) -> set[str]:
    return {line.rpartition("/")[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()}


def test_process_is_inside_and_the_folder_goes_with_it(group: ControlGroup) -> None:
    folders = [Path(folder) for folder in group.folders]
    process = subprocess.Popen(["sleep", "600"], preexec_fn=group.enter)
    assert folders[0].name in groups_of(process.pid)
    process.kill()
    process.wait()
    group.remove()
    assert not any(folder.exists() for folder in folders)


def folders_of(warm: WarmProcess) -> list[Path]:
    """Of the group that some descendant of ours is in since ``warm`` was started."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    standing = warm.started()
    if "control_group" not in standing.held:
        warm.stop()
        pytest.skip(standing.lacking["control_group"])
    found: list[Path] = []
    for process in psutil.Process().children(recursive=True):
        if process.pid not in before:
            names = {name for name in groups_of(process.pid) if name.startswith(NAME)}
            found += [place.folder / name for place in here() for name in names]
    return found


def here() -> list[Place]:
    return places(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())


def test_stopping_removes_the_group() -> None:
    warm = WarmProcess()
    folders = folders_of(warm)
    assert folders
    assert all(folder.is_dir() for folder in folders)
    warm.stop()
    assert not any(folder.exists() for folder in folders)


def test_group_of_a_killed_warm_process_is_removed_by_the_parent() -> None:
    warm = WarmProcess()
    folders = folders_of(warm)
    for process in psutil.Process().children(recursive=True):
        if {folder.name for folder in folders} & groups_of(process.pid):
            process.parent().kill()
            psutil.wait_procs([process], timeout=10)
    warm.stop()
    assert folders
    assert not any(folder.exists() for folder in folders)


def test_group_of_a_killed_parent_is_removed_by_the_warm_process(group: ControlGroup) -> None:
    code = (
        "import time\nfrom pangu_verl.mars.code.warm_process import WarmProcess\n"
        "warm = WarmProcess()\nwarm.started()\nprint('started', flush=True)\ntime.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    with parent.stdout:
        parent.stdout.readline()
    warm = psutil.Process(parent.pid).children(recursive=True)
    names = {name for process in warm for name in groups_of(process.pid) if name.startswith(NAME)}
    parent.kill()
    parent.wait()
    psutil.wait_procs(warm, timeout=10)
    assert names
    assert not any((place.folder / name).exists() for place in here() for name in names)


FORKS_MEMORY = """
import os, time
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        held = b"x" * (100 << 20)
        time.sleep(1)
        os._exit(0)
    children.append(pid)
print("all lived" if not any(os.waitpid(pid, 0)[1] for pid in children) else "one was killed")
"""
FORKS_MANY = """
import os, time
try:
    for _ in range(100):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
except OSError:
    print("refused", flush=True)
else:
    print("all lived", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(
    ("code", "output"), [(FORKS_MEMORY, "one was killed"), (FORKS_MANY, "refused")], ids=["memory", "processes"]
)
def test_group_bounds_the_whole_tree_where_no_other_layer_does(code: str, output: str) -> None:
    without = ["seccomp", "limits"]
    bounded, control = WarmProcess(without), WarmProcess([*without, "control_group"])
    limits = Limits(cpu_seconds=5, memory_mib=128)
    if "control_group" not in bounded.started().held or "process_namespace" not in bounded.started().held:
        bounded.stop()
        pytest.skip("control group and process namespace are not both to be had here")
    outcome = run_test(bounded, code, StdinTest("", output, limits))
    as_before = run_test(bounded, "print(1)", StdinTest("", "1", limits))
    unbounded = run_test(control, code, StdinTest("", "all lived", limits))
    bounded.stop()
    control.stop()
    assert outcome.passed, outcome.reason
    assert as_before.passed, as_before.reason
    assert unbounded.passed, unbounded.reason
