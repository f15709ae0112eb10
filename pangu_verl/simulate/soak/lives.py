"""One life of a soak's worker, from the outside: started, listened to, and killed with SIGKILL where it was aimed.

Invariant: only the process that was started here is killed, and by its id. A worker that ends by itself before the run
is over has failed: that is a ``RunFailed`` with what it said.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pangu_verl.errors import RunFailed
from pangu_verl.simulate.soak.folder import SoakFolder
from pangu_verl.simulate.soak.kills import Aim, Kill

WORKER = (sys.executable, "-m", "pangu_verl.simulate.soak.worker")


@dataclass(frozen=True, kw_only=True, slots=True)
class LifeEnd:
    """How a life ended: ``killed`` says where, None for the one that ended the run.

    ``samples`` were trained on in the lineage when last heard of; a life killed early says nothing. ``seconds`` are of
    wall time.
    """

    life: int
    aim: Aim | None
    killed: str | None
    is_in_transaction: bool
    samples: int
    seconds: float


def live(
    folder: SoakFolder, life: int, kill: Kill | None, *, lock: int, samples: int, on_samples: Callable[[int], None]
) -> LifeEnd:
    """``lock`` is a descriptor that the worker keeps open.

    ``samples`` were trained on when last heard of; ``on_samples`` is told of each change.
    """
    began_s = time.monotonic()
    killed: str | None = None
    message: Mapping[str, Any] = {}
    with _worker(folder, life, kill, lock) as process:
        for message in _messages(process):
            if (told := message.get("samples", samples)) != samples:
                samples = told
                on_samples(samples)
            if (killed := _killed(process, kill, samples, message)) is not None:
                break
        # It may have come to its end before the kill.
        if (code := process.wait()) not in (0, -signal.SIGKILL) or (code and killed is None):
            raise RunFailed(f"life {life} of the soak's worker ended with exit code {code}: {_last_words(folder)}")
    return LifeEnd(
        life=life,
        aim=kill.aim if kill and code else None,
        killed=killed if code else None,
        is_in_transaction=bool(code) and message.get("is_in_transaction", False),
        samples=samples,
        seconds=time.monotonic() - began_s,
    )


def _killed(
    process: subprocess.Popen[bytes], kill: Kill | None, samples: int, message: Mapping[str, Any]
) -> str | None:
    """Where the worker was killed, if its time has come."""
    if "halted" in message:
        process.kill()
        return str(message["halted"])
    if kill is None or kill.aim is not Aim.ANY_TIME or samples < kill.after_samples:
        return None
    time.sleep(kill.delay_s)
    process.kill()
    return "any time"


@contextlib.contextmanager
def _worker(folder: SoakFolder, life: int, kill: Kill | None, lock: int) -> Iterator[subprocess.Popen[bytes]]:
    """Ends with the block, whatever happens in it."""
    described = kill.describe() if kill else "null"
    with folder.worker_errors.open("ab") as errors:
        process = subprocess.Popen(
            [*WORKER, str(folder.path), str(life), described],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=[lock],
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _messages(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def _last_words(folder: SoakFolder) -> str:
    lines = folder.worker_errors.read_text(errors="replace").strip().splitlines()
    return f"{lines[-1]} (all of it: {folder.worker_errors})" if lines else "it said nothing"
