"""The scheduler as a plugin: its policies, controllers and the priority's terms, by the same hooks as anybody's."""

from __future__ import annotations

from collections.abc import Callable

from pangu_verl.hookspecs import hookimpl
from pangu_verl.queue.terms.built_in import built_in_terms
from pangu_verl.scheduler.controllers import Adaptive
from pangu_verl.scheduler.policies import Drop, Mask, Wait
from pangu_verl.types import BoundController, PriorityTerm, StalenessPolicy


@hookimpl
def register_staleness_policies(register: Callable[[StalenessPolicy], None]) -> None:
    for policy in (Wait(), Drop(), Mask()):
        register(policy)


@hookimpl
def register_bound_controllers(register: Callable[[BoundController], None]) -> None:
    register(Adaptive())


@hookimpl
def register_priority_terms(register: Callable[[PriorityTerm], None]) -> None:
    for term in built_in_terms():
        register(term)
