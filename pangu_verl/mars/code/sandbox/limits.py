"""What one program may use, kept by the kernel's resource limits.

Invariant: the limits are hard ones, so the program cannot raise them. They bound one process; that there is only one
is the business of ``seccomp.py``. CPU time ends with SIGKILL, because process 1 of a namespace ignores SIGXCPU.
"""

from __future__ import annotations

import math
import resource
from dataclasses import dataclass

MEBIBYTE = 1 << 20
MOST_DESCRIPTORS = 64
MOST_PROCESSES = 32
LARGEST_FILE_MIB = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Of one test. CPU time decides; wall time, which depends on the machine's load, only ends what sleeps."""

    cpu_seconds: float = 10.0
    memory_mib: int = 1024

    @property
    def wall_seconds(self) -> float:
        return 3 * self.cpu_seconds + 5

    @property
    def enforced_cpu_seconds(self) -> int:
        """The kernel counts whole seconds."""
        return max(1, math.ceil(self.cpu_seconds))


def apply_limits(limits: Limits) -> None:
    memory_bytes = limits.memory_mib * MEBIBYTE
    bounds = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: limits.enforced_cpu_seconds,
        resource.RLIMIT_NOFILE: MOST_DESCRIPTORS,
        resource.RLIMIT_FSIZE: LARGEST_FILE_MIB * MEBIBYTE,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NPROC: MOST_PROCESSES,
    }
    for kind, bound in bounds.items():
        resource.setrlimit(kind, (bound, bound))
