"""Starting a warm process: directly, or through bubblewrap where this process may make no namespaces of its own.

Invariant: what is returned has said which layers it entered. Bubblewrap is tried only where the process that was
started directly is refused a user namespace, and is given up for the direct way where it fails or guards nothing; the
layer ``bubblewrap`` then says why. A start that fails leaves no process.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

from pangu_verl.mars.code.sandbox import bubblewrap
from pangu_verl.mars.code.sandbox.control_groups import remove_folders
from pangu_verl.mars.code.sandbox.layers import WARM_LAYERS, Standing

START_SECONDS = 120.0
#: How long a warm process that was told to leave may take before it is killed.
LEAVE_SECONDS = 5.0
REPLY_BYTES = 65536
KEPT_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME")


class SandboxFailed(Exception):
    """The sandbox itself failed; nothing is known of the program."""


@dataclass(frozen=True, slots=True)
class Running:
    """A warm process that is ready, our end of its control socket, and the folders of its control group."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    standing: Standing
    folders: Sequence[str]

    def stop(self) -> None:
        self.control.close()
        _end(self.process)
        remove_folders(self.folders)


def launch(without: Collection[str]) -> Running:
    """A new warm process without the layers named. Raises ``SandboxFailed``."""
    direct = _launched(None, without, None)
    if "user_namespace" in direct.standing.held or {"bubblewrap", *WARM_LAYERS} & set(without):
        return direct
    through = _through_bubblewrap(without)
    if isinstance(through, str):
        lacking = {**direct.standing.lacking, "bubblewrap": through}
        return replace(direct, standing=replace(direct.standing, lacking=lacking))
    direct.stop()
    return through


def receive(control: socket.socket, deadline: float) -> dict[str, Any]:
    """One message of a warm process. Raises ``EOFError``, ``TimeoutError`` or another ``OSError``."""
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("time is up")
    control.settimeout(left_s)
    data = control.recv(REPLY_BYTES)
    if not data:
        raise EOFError("it ended")
    message: dict[str, Any] = json.loads(data)
    return message


def failure(reason: object) -> SandboxFailed:
    return SandboxFailed(f"the sandbox's warm process failed: {reason}")


def _through_bubblewrap(without: Collection[str]) -> Running | str:
    """A warm process that bubblewrap really guards, or why there is none."""
    program = shutil.which(bubblewrap.PROGRAM)
    if program is None:
        return "there is no bwrap on PATH"
    with tempfile.TemporaryFile() as errors:
        try:
            running = _launched(program, without, errors)
        except SandboxFailed as error:
            return f"{error}{_last_line(errors)}"
    if "bubblewrap" in running.standing.held:
        return running
    running.stop()
    return running.standing.lacking["bubblewrap"]


def _launched(through: str | None, without: Collection[str], errors: IO[bytes] | None) -> Running:
    """``through`` is the path of ``bwrap`` where it is used; ``errors`` gets what is written about failing."""
    try:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError as error:
        raise failure(f"no socket to talk over: {error}") from None
    told = {"without": sorted(without), "outside_root": None if through is None else bubblewrap.own_root()}
    module = ["-P", "-B", "-m", "pangu_verl.mars.code.inside.warm", str(theirs.fileno()), json.dumps(told)]
    command = [sys.executable, *module]
    if through is not None:
        paths = bubblewrap.shown_paths()
        command = bubblewrap.wrapped(through, command, paths, bubblewrap.links_among(paths))
    with theirs:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a signal to the parent's group must not keep it from clearing up
            )
        except OSError as error:
            control.close()
            raise failure(f"it does not start: {error}") from None
    try:
        hello = receive(control, time.monotonic() + START_SECONDS)
    except (OSError, EOFError) as error:
        control.close()
        _end(process)
        raise failure(f"no sign after {START_SECONDS:g} s" if isinstance(error, TimeoutError) else error) from None
    return Running(process, control, Standing(frozenset(hello["held"]), hello["lacking"]), hello["folders"])


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}


def _end(process: subprocess.Popen[bytes]) -> None:
    """It leaves by itself when its control socket ends, and then removes its control group."""
    try:
        process.wait(LEAVE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read(REPLY_BYTES).decode(errors="replace").splitlines()
    return f" ({lines[-1][:200]})" if lines else ""
