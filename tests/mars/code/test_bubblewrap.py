"""Starting through bubblewrap. The program ``bwrap`` is a stand-in here: the real one is not run by any test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pangu_verl.mars.code.launching import launch
from pangu_verl.mars.code.sandbox.bubblewrap import links_among, shown_paths, unchanged, wrapped

COMMAND = ["/venv/bin/python", "-m", "module"]
PATHS = ["/dev/null", "/lib", "/usr/lib", "/venv/bin/python"]
ARGUMENTS = wrapped("/usr/bin/bwrap", COMMAND, PATHS, {"/lib": "usr/lib"})


def pairs(option: str) -> list[list[str]]:
    return [ARGUMENTS[place + 1 : place + 3] for place, argument in enumerate(ARGUMENTS) if argument == option]


def test_command_comes_last_and_unchanged() -> None:
    assert ARGUMENTS[0] == "/usr/bin/bwrap"
    assert ARGUMENTS[-3:] == COMMAND


@pytest.mark.parametrize("kind", ["user-try", "pid", "net", "ipc"])
def test_every_namespace_is_asked_for(kind: str) -> None:
    assert f"--unshare-{kind}" in ARGUMENTS


def test_paths_are_shown_to_be_read_devices_as_devices_and_links_as_links() -> None:
    assert pairs("--ro-bind") == [["/usr/lib", "/usr/lib"], ["/venv/bin/python", "/venv/bin/python"]]
    assert pairs("--dev-bind") == [["/dev/null", "/dev/null"]]
    assert pairs("--symlink") == [["usr/lib", "/lib"]]


def test_nothing_is_writable_and_no_right_is_kept() -> None:
    assert not {"--bind", "--tmpfs", "--dev", "--proc", "--share-net", "--cap-add"} & set(ARGUMENTS)
    assert pairs("--cap-drop")[0][0] == "ALL"
    assert ARGUMENTS.index("--remount-ro") > max(ARGUMENTS.index(path) for path in PATHS)


def test_all_processes_end_with_the_warm_one_and_it_with_no_thread() -> None:
    assert "--as-pid-1" in ARGUMENTS
    assert "--die-with-parent" not in ARGUMENTS


def test_interpreter_and_this_package_are_shown_and_homes_are_not() -> None:
    paths = shown_paths()
    package = Path(sys.modules["pangu_verl"].__file__ or "").parent
    for needed in (Path(sys.executable), Path(os.__file__), package / "mars" / "code" / "inside" / "warm.py"):
        assert any(needed.is_relative_to(path) for path in paths), needed
    for hidden in (Path.home(), Path("/etc/passwd"), Path("/proc/1"), Path(__file__)):
        assert not any(hidden.is_relative_to(path) for path in paths), hidden


def test_links_to_folders_are_told_from_others(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name in ("folder", "file"):
        (tmp_path / f"to {name}").symlink_to(name)
    paths = sorted(map(str, tmp_path.iterdir()))
    assert links_among(paths) == {str(tmp_path / "to folder"): "folder"}


@pytest.mark.parametrize(
    ("root", "pid", "interfaces", "seen"),
    [
        ((2, 2), 1, [], []),
        ((2, 2), 1, ["lo"], []),
        ((1, 2), 1, ["lo"], ["files"]),
        ((2, 2), 77, ["lo"], ["processes"]),
        ((2, 2), 1, ["lo", "eth0"], ["network"]),
        ((1, 2), 77, ["eth0"], ["files", "processes", "network"]),
    ],
)
def test_what_of_the_machine_is_still_seen_is_named(
    root: tuple[int, int], pid: int, interfaces: list[str], seen: list[str]
) -> None:
    assert unchanged((1, 2), root, pid, interfaces) == seen


# --- with a stand-in on PATH -----------------------------------------------------------------------------------------

IN_A_CONTAINER = """
import json
from refused_namespaces import refuse_namespaces
from pangu_verl.mars.code.rows import StdinTest
from pangu_verl.mars.code.running import run_test
from pangu_verl.mars.code.sandbox.limits import Limits
from pangu_verl.mars.code.warm_process import WarmProcess
refuse_namespaces()
warm = WarmProcess()
standing = warm.started()
outcome = run_test(warm, "print(1)", StdinTest("", "1", Limits()))
warm.stop()
print(json.dumps({"held": sorted(standing.held), "lacking": dict(standing.lacking), "passed": outcome.passed}))
"""


def in_a_container(folder: Path, script: str | None) -> dict[str, Any]:
    """The standing of a process that may make no namespaces, with ``script`` as ``bwrap`` on its PATH."""
    if script is not None:
        (folder / "bwrap").write_text(f"#!/bin/sh\n# A fake, which isolates nothing.\n{script}\n")
        (folder / "bwrap").chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(
        [sys.executable, "-c", IN_A_CONTAINER], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def test_bwrap_is_started_with_our_command_and_not_believed(tmp_path: Path) -> None:
    record = tmp_path / "arguments"
    script = f'printf "%s\\n" "$@" > {record}\nwhile [ "$1" != --chdir ]; do shift; done\nshift 2\nexec "$@"'
    found = in_a_container(tmp_path, script)
    paths = shown_paths()
    expected = wrapped(str(tmp_path / "bwrap"), [], paths, links_among(paths))[1:]
    recorded = record.read_text().splitlines()
    assert recorded[: len(expected)] == expected
    assert recorded[len(expected)] == sys.executable
    assert "pangu_verl.mars.code.inside.warm" in recorded
    assert "bubblewrap" not in found["held"]
    assert "left the machine's files, processes" in found["lacking"]["bubblewrap"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'bwrap: No permissions to create new namespace' >&2\nexit 1", "No permissions to create new namespace"),
        ("exec /no/such/interpreter", "it ended"),
        (None, "there is no bwrap on PATH"),
    ],
)
def test_without_a_bwrap_that_works_the_other_layers_hold(tmp_path: Path, script: str | None, reason: str) -> None:
    found = in_a_container(tmp_path, script)
    assert reason in found["lacking"]["bubblewrap"]
    assert "seccomp" in found["held"]
    assert "user_namespace" in found["lacking"]
    assert found["passed"] is True


def test_bwrap_is_not_asked_where_namespaces_are_left_off_on_purpose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bwrap").write_text(f"#!/bin/sh\n# A fake.\ntouch {tmp_path}/was_started\nexit 1")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    launch(["user_namespace"]).stop()
    assert not (tmp_path / "was_started").exists()
