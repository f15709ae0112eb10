"""The one patch of verl: how it starts torch.distributed when the device is the CPU itself.

verl asks for the backend ``cpu:gloo,<device>:<backend>``, which reads ``cpu:gloo,cpu:gloo`` here, and torch refuses a
device named twice. The replacement only fills in ``cpu:gloo`` where the caller named no backend. It is installed for
the versions of verl it was read against, and refuses if verl's function has changed its parameters.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from packaging.specifiers import SpecifierSet

_SUPPORTED = ">=0.9.1,<0.10"
_EXPECTED_PARAMETERS = ("timeout_second", "backend")
_MARK = "pangu_verl_cpu_allows_cpu"


def allow_cpu() -> None:
    """Install the patch once; raises ``RuntimeError`` where it was not made for this verl."""
    import verl
    from verl.utils import distributed

    original = distributed.initialize_global_process_group_ray
    if hasattr(original, _MARK):
        return
    if not SpecifierSet(_SUPPORTED).contains(verl.__version__, prereleases=True):
        raise RuntimeError(
            f"pangu-verl-cpu patches verl {_SUPPORTED}, found {verl.__version__}; install a matching pair"
        )
    parameters = tuple(inspect.signature(original).parameters)
    if parameters != _EXPECTED_PARAMETERS:
        raise RuntimeError(
            f"verl.utils.distributed.initialize_global_process_group_ray takes {parameters}, expected "
            f"{_EXPECTED_PARAMETERS}; this verl needs a newer pangu-verl-cpu"
        )

    @functools.wraps(original)
    def initialize(timeout_second: int | None = None, backend: str | None = None) -> Any:
        return original(timeout_second=timeout_second, backend=backend or "cpu:gloo")

    setattr(initialize, _MARK, True)
    distributed.initialize_global_process_group_ray = initialize
