"""MARS as a plugin: what it registers, by the same hooks as anybody's."""

from __future__ import annotations

from collections.abc import Callable

from pangu_verl.hookspecs import hookimpl
from pangu_verl.mars.maths import MathsSource
from pangu_verl.types import RewardSource


@hookimpl
def register_reward_sources(register: Callable[[RewardSource], None]) -> None:
    register(MathsSource())
