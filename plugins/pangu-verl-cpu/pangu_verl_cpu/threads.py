"""One pool of compute threads per process.

GNU OpenMP gives every thread that computes a pool of its own, and once the pools together have more threads than there
are cores, waiting threads sleep instead of spinning: a decoding step then takes twice as long. So all threads start
with a pool of one, and the single thread that does the heavy work of a process claims the rest.
"""

from __future__ import annotations

import threading

import torch

_available = torch.get_num_threads()


def reserve() -> None:
    """Leave this thread, and those that do not claim, a single compute thread."""
    torch.set_num_threads(1)


def claim() -> None:
    """Let this thread compute with as many threads as torch found at the start (``OMP_NUM_THREADS``)."""
    torch.get_num_threads()  # A thread's first call takes the number set last anywhere: later it would undo the claim.
    torch.set_num_threads(_available)
    # That number holds for all threads which compute for the first time from now on: set it back, from one of them.
    reserving = threading.Thread(target=reserve)
    reserving.start()
    reserving.join()
