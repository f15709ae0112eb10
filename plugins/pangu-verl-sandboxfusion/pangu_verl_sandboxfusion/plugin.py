"""What the package registers. Nothing, while no setting is given: mere installation must not claim a domain."""

from __future__ import annotations

import os
from collections.abc import Callable

from pangu_verl.hookspecs import hookimpl
from pangu_verl.types import RewardSource
from pangu_verl_sandboxfusion.settings import load_settings
from pangu_verl_sandboxfusion.source import SandboxFusionSource


@hookimpl
def register_reward_sources(register: Callable[[RewardSource], None]) -> None:
    settings = load_settings(os.environ)
    if settings is not None:
        register(SandboxFusionSource(settings))
