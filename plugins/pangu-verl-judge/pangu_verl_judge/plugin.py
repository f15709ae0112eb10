"""What the package registers. Nothing, while no setting is given: mere installation must not claim a domain."""

from __future__ import annotations

import os
from collections.abc import Callable

from pangu_verl.hookspecs import hookimpl
from pangu_verl.types import RewardSource
from pangu_verl_judge.model import model_of
from pangu_verl_judge.settings import load_settings
from pangu_verl_judge.source import JudgeSource
from pangu_verl_judge.verifier import VerifierSource


@hookimpl
def register_reward_sources(register: Callable[[RewardSource], None]) -> None:
    settings = load_settings(os.environ)
    if settings is None:
        return
    model = model_of(settings, os.environ)
    for source in (JudgeSource(model), VerifierSource(model)):
        register(source)
