"""How much of the machine's processors a run takes for itself.

A paced run measures the control plane only while the machine has time to spare: where processors are busy, sleeps end
late and everything is slower than it says. Invariant: all processes of the run count, the driver's and Ray's, and each
once; other programs on the machine do not.
"""

from __future__ import annotations

import contextlib

import psutil

#: Of all processors; the figures of a run that takes more are worth nothing (project default).
MOST_SHARE = 0.7


def root_of(process: psutil.Process) -> psutil.Process:
    """What started the Ray that ``process`` works for: the driver; without Ray the process itself."""
    line = [process, *process.parents()]
    raylets = [place for place, each in enumerate(line) if each.name() == "raylet"]
    return line[raylets[-1] + 1] if raylets and raylets[-1] + 1 < len(line) else process


def processor_s(root: psutil.Process) -> float:
    """Processor time so far of ``root`` and all that descends from it, those that have ended included."""
    total_s = 0.0
    for each in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            times = each.cpu_times()
            total_s += times.user + times.system + times.children_user + times.children_system
    return total_s


def share(processor_s: float, elapsed_s: float) -> float:
    """Of all processors of the machine, 0..1."""
    return processor_s / (elapsed_s * (psutil.cpu_count() or 1))
