"""The plugin: what it registers."""

from __future__ import annotations

from collections.abc import Callable

from pangu_verl.hookspecs import hookimpl
from pangu_verl.types import RewardSource
from pangu_verl_ifeval.source import InstructionSource


@hookimpl
def register_reward_sources(register: Callable[[RewardSource], None]) -> None:
    register(InstructionSource())
