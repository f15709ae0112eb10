"""What verl imports through its ``verl.plugins`` entry point in every process: the CPU platform, nothing heavier.

Acts only under ``VERL_PLATFORM=cpu``. verl swallows what an entry point raises, so the outcome is kept in ``outcome``
and pangu_verl's driver asks every process for it. Rollout and transport register later, through verl's own config
hooks (``model.external_lib``, ``checkpoint_engine.custom_backend_module``), because they import much of verl.
"""

from __future__ import annotations

import os

#: "inactive", "ready", or what went wrong.
outcome = "inactive"


def _boot() -> str:
    try:
        from pangu_verl_cpu import platform, process_group, threads

        platform.register()
        process_group.allow_cpu()
        threads.reserve()
    except Exception as error:  # noqa: BLE001 - verl would swallow it; the driver reads it from `outcome`
        return f"{type(error).__name__}: {error}"
    return "ready"


if os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu":
    outcome = _boot()
