"""What verl imports through its ``verl.plugins`` entry point in every process. Light: it costs ``import verl`` nothing.

verl swallows whatever an entry point raises, so the outcome is kept here and the driver asks every process for it.
"""

from __future__ import annotations

from importlib.metadata import version

from packaging.specifiers import SpecifierSet

#: "ready", or what went wrong.
outcome = "not loaded"

_NEEDED = SpecifierSet(">=0.9.1,<0.10")


def _boot() -> str:
    try:
        found = version("verl")
        fits = _NEEDED.contains(found, prereleases=True)
    except Exception as error:  # noqa: BLE001 - verl would swallow it; the driver reads it from `outcome`
        return f"{type(error).__name__}: {error}"
    return "ready" if fits else f"pangu_verl needs verl>=0.9.1,<0.10, found {found}"


outcome = _boot()
