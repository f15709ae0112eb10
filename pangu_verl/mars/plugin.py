"""MARS as a plugin: what it registers, by the same hooks as anybody's."""

from __future__ import annotations

from collections.abc import Callable

from pangu_verl.hookspecs import hookimpl
from pangu_verl.mars.auxiliary.length import LengthTerm
from pangu_verl.mars.auxiliary.mode import FastLengthTerm
from pangu_verl.mars.auxiliary.repetition import RepetitionTerm
from pangu_verl.mars.auxiliary.truncation import TruncationTerm
from pangu_verl.mars.choice import ChoiceSource
from pangu_verl.mars.code.source import CodeSource
from pangu_verl.mars.general import GeneralSource
from pangu_verl.mars.maths import MathsSource
from pangu_verl.types import AuxiliaryTerm, RewardSource


@hookimpl
def register_reward_sources(register: Callable[[RewardSource], None]) -> None:
    for source in (MathsSource(), CodeSource(), ChoiceSource(), GeneralSource()):
        register(source)


@hookimpl
def register_auxiliary_terms(register: Callable[[AuxiliaryTerm], None]) -> None:
    for term in (RepetitionTerm(), LengthTerm(), TruncationTerm(), FastLengthTerm()):
        register(term)
