"""Every hook of pangu_verl, with its contract: the whole of what a plugin may implement.

A plugin is a module (or object) named by an entry point of group ``pangu_verl``; it marks its functions with
``hookimpl`` and may leave out arguments that it does not need. Hooks named ``register_...`` are called once when a
process sets up, and the plugin calls ``register`` with each of its objects; hooks named ``on_...`` are called when it
happens. Nothing is called per token. How plugins are found and checked is in ``plugins.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pluggy import HookimplMarker, HookspecMarker

from pangu_verl.types import AuxiliaryTerm, BoundController, PriorityTerm, RewardSource, StalenessPolicy

#: Group of the entry points, and pluggy's name of this project.
PROJECT = "pangu_verl"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


@hookspec
def register_reward_sources(register: Callable[[RewardSource], None]) -> None:
    """Offer judges of responses: ``register(source)`` for each.

    Called in the driver and in every reward worker. Which source judges which rows is decided by ``domains`` and, where
    two of them claim the same, by the configuration's ``pangu.rewards.sources``.
    """


@hookspec
def register_auxiliary_terms(register: Callable[[AuxiliaryTerm], None]) -> None:
    """Offer what is added to a score beside correctness: ``register(term)`` for each.

    Called in the driver and in every reward worker. Those that ``pangu.rewards.terms`` names (null: all) apply to every
    row, in the order of registration; how they meet correctness is in ``pangu_verl.mars.composition``.
    """


@hookspec
def register_staleness_policies(register: Callable[[StalenessPolicy], None]) -> None:
    """Offer rules for work that grows too old before it is trained on: ``register(policy)`` for each.

    Called where a scheduler is made: in the driver of a run and by ``pangu-verl simulate``. One policy serves a run.
    """


@hookspec
def register_bound_controllers(register: Callable[[BoundController], None]) -> None:
    """Offer controllers that move the staleness bound while a run goes on: ``register(controller)`` for each.

    Called where a scheduler is made. One controller serves a run, or none, and then nothing moves.
    """


@hookspec
def register_priority_terms(register: Callable[[PriorityTerm], None]) -> None:
    """Offer reasons to put one group before another: ``register(term)`` for each.

    Called where a scheduler is made. A term counts with the weight that the configuration gives it, none by default.
    """


@hookspec
def on_checkpoint_saved(folder: Path, step: int, is_durable: bool) -> None:
    """A checkpoint was written to ``folder`` after training step ``step``.

    Called in the process of verl's task runner. With ``is_durable`` false workers may still be writing (Megatron's
    asynchronous saving). What it raises ends the run, which the checkpoint survives.
    """
