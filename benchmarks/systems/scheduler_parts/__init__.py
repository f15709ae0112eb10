"""The parts of the scheduler's benchmark, and the settings that they share.

A part is a module that offers ``measure(scale)``, which returns figures as JSON data with the settings they were taken
under, ``table(figures)``, whose first row is the heading, and ``TARGETS``, the bounds that its figures are held to.
All of it runs in the simulator, so figures depend on settings and seeds alone; only ``scale`` reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

PARTS = ("cells", "terms", "controller", "scale")

BATCH_GROUPS = 64
TRAJECTORIES = 8
SLOTS = 512
#: Error of the expected length that a prompt carries, where an order asks for it (sigma of its logarithm).
ESTIMATE_SIGMA = 0.3
#: Of a wave of expected lengths: it divides the steps of a run, so that none is cut off.
WAVE_BATCHES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """How much is measured: runs of ``steps`` steps for each of ``seeds``, in so many ``processes``."""

    seeds: tuple[int, ...]
    steps: int
    processes: int
    #: Trajectories of the part ``scale``.
    trajectories: int


def full_scale(num_seeds: int, processes: int) -> Scale:
    return Scale(seeds=tuple(range(num_seeds)), steps=200, processes=processes, trajectories=1_000_000)


def quick_scale(processes: int) -> Scale:
    """To see that it runs: its figures are worth nothing."""
    return Scale(seeds=(0, 1), steps=8, processes=processes, trajectories=40_000)
