"""A controller's hand on a scheduler: what is in force, what the controller makes of a step, and carrying it out.

Invariant: an answer that cannot be carried out ends the run with the controller's name; nothing is decided here.
"""

from __future__ import annotations

from pangu_verl.errors import RunFailed, first_line
from pangu_verl.scheduler.readings import Decision, Reading
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.types import BoundController


def in_force(scheduler: Scheduler) -> Decision:
    settings = scheduler.settings
    return Decision(settings.bound_versions, settings.window_groups or settings.largest_window_groups)


def steer(scheduler: Scheduler, controller: BoundController, reading: Reading) -> None:
    """Ask the controller after a step, and do what it says; in force from the next step on."""
    now = in_force(scheduler)
    answer = _decided(controller, reading, now)
    if answer != now:
        # A window that nobody set or moves goes on following the bound.
        is_moved = answer.window_groups != now.window_groups
        scheduler.adjust(answer.bound_versions, answer.window_groups if is_moved else scheduler.settings.window_groups)


def _decided(controller: BoundController, reading: Reading, now: Decision) -> Decision:
    try:
        answer = controller.decide(reading, now)
    except Exception as error:
        raise RunFailed(
            f"bound controller {controller.name!r} failed: {type(error).__name__}: {first_line(error)}; mend it"
        ) from error
    if not isinstance(answer, Decision) or answer.bound_versions < 0 or answer.window_groups < reading.batch_groups:
        raise RunFailed(
            f"bound controller {controller.name!r} answered {answer!r}, expected a Decision with a bound of 0 or more "
            f"versions and a window of at least {reading.batch_groups} groups; mend it"
        )
    return answer
