"""The soak: a long run on a real ledger, killed again and again, resumed each time, and audited as it goes.

Invariants: whatever ends this process, ``resume_soak`` goes on; kills that were seen to be made are never made again; a
breach ends the soak, as an error that comes after the report is written. What runs is ``worker``, what is checked
``audit``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.simulate.soak.audit import Auditor
from pangu_verl.simulate.soak.ends import read_ends, write_ends
from pangu_verl.simulate.soak.folder import SoakFolder
from pangu_verl.simulate.soak.kills import plan_kills
from pangu_verl.simulate.soak.lives import live
from pangu_verl.simulate.soak.order import SoakOrder, read_order
from pangu_verl.simulate.soak.report import SoakReport, summarise

#: How long a worker whose supervisor was killed may take to end.
_LOCK_PATIENCE_S = 10.0
_LOOK_EVERY_S = 0.05


class SoakProgress(NamedTuple):
    """How far a soak is: samples trained on in its lineage, and kills made."""

    samples: int
    kills: int


OnProgress = Callable[[SoakProgress], None]


def run_soak(folder: Path, order: SoakOrder, progress: OnProgress) -> SoakReport:
    """A soak from its beginning. Raises ``WrongUse`` where one was begun already, ``RunFailed`` for a breach."""
    place = SoakFolder(folder.resolve())
    if place.order.exists():
        raise WrongUse(f"{folder} holds a soak already; go on with it by resume, or name another folder")
    place.consumption.mkdir(parents=True, exist_ok=True)
    order.write(place.order)
    return resume_soak(folder, progress)


def resume_soak(folder: Path, progress: OnProgress) -> SoakReport:
    """Go on with a soak whose process ended; one that is over is audited once more. Errors as ``run_soak``."""
    place = SoakFolder(folder.resolve())
    order = read_order(place.order)
    with _held(place.lock) as lock:
        report = _Soak(place, order, lock, progress).run()
    partial = place.report.with_suffix(".partial")
    partial.write_text(json.dumps(report.to_json(), indent=2) + "\n")
    partial.replace(place.report)
    if report.first_breach is not None:
        raise RunFailed(f"the soak found a breach: {report.first_breach} (all figures: {place.report})")
    return report


class _Soak:
    def __init__(self, place: SoakFolder, order: SoakOrder, lock: int, progress: OnProgress) -> None:
        self._place = place
        self._order = order
        self._lock = lock
        self._progress = progress
        self._ends = read_ends(place.ends)
        self._auditor = Auditor(
            bound_versions=order.bound_versions, batch_groups=order.batch_groups, trajectories=order.trajectories
        )
        self._num_audited = 0

    def run(self) -> SoakReport:
        kills = plan_kills(self._order)
        self._audit()
        while not self._is_over and self._auditor.findings.first is None:
            kill = kills[self._num_kills] if self._num_kills < len(kills) else None
            samples = self._ends[-1].samples if self._ends else 0
            end = live(self._place, self._next_life, kill, lock=self._lock, samples=samples, on_samples=self._tell)
            self._ends.append(end)
            write_ends(self._place.ends, self._ends)
            self._audit()
        if self._is_over:
            self._auditor.read_end(self._place.ledger, self._place.checkpoints)
        return summarise(self._order, self._auditor.findings, self._ends, self._place.lives())

    @property
    def _is_over(self) -> bool:
        return bool(self._ends) and self._ends[-1].killed is None

    @property
    def _num_kills(self) -> int:
        return sum(end.killed is not None for end in self._ends)

    @property
    def _next_life(self) -> int:
        """A life that was killed early has no file, and one whose supervisor was killed no end."""
        last = max(self._place.lives(), default=-1)
        return max(len(self._ends), last + 1)

    def _audit(self) -> None:
        """Of each life that is over; before any has begun again, all are."""
        lives = sorted(self._place.lives())
        for life in lives[self._num_audited :]:
            self._auditor.read_life(self._place.life(life))
        self._num_audited = len(lives)

    def _tell(self, samples: int) -> None:
        self._progress(SoakProgress(samples, self._num_kills))


@contextlib.contextmanager
def _held(path: Path) -> Iterator[int]:
    """A lock that this process and its workers hold; its descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    until_s = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise WrongUse(f"another soak runs in {path.parent}; wait for it, or name another folder") from None
            time.sleep(_LOOK_EVERY_S)
        else:
            return
