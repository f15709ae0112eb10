"""What the simulator says of a mode in the same scenario: same lengths, slots, rates, split and publication time.

The simulator has no run in which servers and trainer take turns and requests outlive a step, so that one is made here:
replicas stand still while a step trains, and nothing begins meanwhile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from pangu_verl.plugins import load_plugins
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.simulate.baselines import Synchronous
from pangu_verl.simulate.engine import Engine
from pangu_verl.simulate.scenario import VERL, Scenario
from pangu_verl.simulate.selection import Selection

from . import BOUND_VERSIONS, Scale, Size
from .measuring import of_simulation
from .modes import Mode
from .scenarios import cluster_of, scenario_of


class _TurnsEngine(Engine):
    def _begin_step(self) -> None:
        super()._begin_step()
        if self._trains:
            assert self._begun is not None
            self._fleet.pause(self._now_s + self._begun.train_s, self._now_s)

    def _fill_slots(self) -> None:
        if not self._trains:
            super()._fill_slots()


def predicted(mode: Mode, size: Size, scale: Scale, *, seed: int, steps: int) -> Mapping[str, float] | None:
    """Figures as ``measuring`` gives them, with ``step_s`` on the wall; None for a mode that nobody plays."""
    if mode.simulated is None:
        return None
    scenario = scenario_of(size, cluster_of(size), seed=seed, steps=steps)
    plan = scenario.plan(takes_turns=mode.takes_turns, partial_rollouts=mode.simulated != "sync")
    engine = _TurnsEngine if mode.takes_turns else Engine
    tally = engine(dataclasses.replace(plan, steps=steps), _selection(mode, scenario)).run()
    found = of_simulation(tally.steps, scale.first_steps, scenario)
    return found | {"step_s": scale.ceiling_step_s / found["ceiling_share"]}


def _selection(mode: Mode, scenario: Scenario) -> Selection:
    assert mode.simulated is not None
    if mode.simulated == "sync":
        return Synchronous(scenario.batch_groups)
    if mode.simulated in VERL:
        assert mode.warm_up_batches is not None
        return VERL[mode.simulated](scenario.batch_groups, BOUND_VERSIONS, mode.warm_up_batches)
    settings = SchedulerSettings(batch_groups=scenario.batch_groups, bound_versions=BOUND_VERSIONS)
    return Scheduler(settings, load_plugins().staleness_policies[mode.simulated])
