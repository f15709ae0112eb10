"""What verl imports through its ``verl.plugins`` entry point in every process. Light: it costs ``import verl`` nothing.

verl swallows whatever an entry point raises, so the outcome is kept here and the driver asks every process for it.
"""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version

#: "ready", or what went wrong.
outcome = "not loaded"

_LOWEST, _BELOW = Version("0.9.1"), Version("0.10")


def _boot() -> str:
    try:
        found = Version(version("verl"))
    except Exception as error:  # noqa: BLE001 - verl would swallow it; the driver reads it from `outcome`
        return f"{type(error).__name__}: {error}"
    if not _LOWEST <= found < _BELOW:
        return f"pangu_verl needs verl>={_LOWEST},<{_BELOW}, found {found}"
    return "ready"


outcome = _boot()
