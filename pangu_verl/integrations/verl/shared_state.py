"""The state of rewards of all reward workers in one named Ray actor, read by the trainer and kept with checkpoints.

Invariants: but for its first row a reward worker never waits for the actor, so what it knows of the others' rows may be
a few rows old; a source that leaves too many rows unjudged ends the run by name (``monitor.report_failure``), whichever
workers met those rows; an actor that dies ends the run (``supervisor.py``). What is counted, measured and decided is in
``mars/state.py``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from omegaconf import OmegaConf
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pangu_verl.errors import RunFailed, first_line
from pangu_verl.integrations.verl.monitor import report_failure
from pangu_verl.integrations.verl.reward_trail import RewardTrail
from pangu_verl.mars.settings import KEY, RewardSettings, reward_settings
from pangu_verl.mars.state import JudgedRow, RewardState, Shared

STATE_NAME = "pangu_mars_state"
STATE_FILE = "pangu_mars_state.json"

#: A worker judges without the others' measurements rather than wait any longer for them.
_LONGEST_WAIT_S = 60.0

logger = logging.getLogger(__name__)


class SharedState:
    """What runs in the actor: the state, its record on disk, and the one report of a source that judges too little."""

    def __init__(self, settings: RewardSettings) -> None:
        self._state = settings.state()
        self._trail = RewardTrail(Path(settings.trail_dir) if settings.trail_dir else None)
        self._changes = list(self._state.reliability.changes)
        self._has_reported = False

    def record(self, row: JudgedRow) -> Shared:
        """Count a row; what the workers have to know from now on."""
        complaint, changes = self._state.record(row)
        self._trail.note(row)
        # Those of gold measurements, with which a run starts, come before the first row's.
        self._trail.note_changes([*self._changes, *changes])
        self._changes = []
        if complaint is not None and not self._has_reported:
            self._has_reported = True
            report_failure(complaint)
        return self._state.shared

    def shared(self) -> Shared:
        return self._state.shared

    def to_json(self) -> dict[str, Any]:
        return {**self._state.to_json(), "trail": self._trail.sizes()}

    def restore(self, found: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state, which takes the place of gold measurements."""
        self._state.restore(found)
        self._trail.cut_back(found.get("trail"))
        self._changes = []

    def metrics(self) -> dict[str, float]:
        """The counts since the start of the run as numbers for verl's trackers: ``mars/<source>/<domain>/<count>``.

        Called once a step.
        """
        self._state.publish_scales()
        found: dict[str, float] = {}
        for (source, domain), tally in self._state.tallies.items():
            prefix = f"mars/{source}/{domain}"
            found[f"{prefix}/judged"] = tally.judged
            found[f"{prefix}/unjudged"] = tally.unjudged.total()
            found[f"{prefix}/passed"] = tally.passed
            found[f"{prefix}/seconds"] = tally.seconds
        rates = self._state.reliability.rates()
        for rate in rates:
            prefix = f"mars/{rate.source}/{rate.domain}/{rate.origin}_{rate.claim}"
            found[f"{prefix}_audited"], found[f"{prefix}_wrong"] = rate.audited, rate.wrong
        self._trail.keep_rates(rates)
        return found


class Recorder:
    """A reward worker's side: tells the actor of each row, and knows what the actor last answered.

    Where no actor runs (without our task runner) the worker keeps a state of its own.
    """

    def __init__(self, settings: RewardSettings) -> None:
        self._actor = find_state()
        self._own = SharedState(settings) if self._actor is None else None
        self.shared = self._own.shared() if self._own is not None else Shared(routes={}, scales={})
        self._answer: asyncio.Task[None] | None = None
        self._first_answer: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Before its first row a worker waits for what is known already: gold measurements, or a checkpoint's state."""
        if self._actor is None:
            return
        if self._first_answer is None:
            self._first_answer = asyncio.ensure_future(self._take(self._actor.shared.remote()))
        await asyncio.wait([self._first_answer], timeout=_LONGEST_WAIT_S)

    def record(self, row: JudgedRow) -> None:
        """Neither waits nor raises. Called in the worker's event loop."""
        if self._own is not None:
            self.shared = self._own.record(row)
            return
        try:
            answer = self._actor.record.remote(row)  # type: ignore[union-attr]
        except Exception as error:  # noqa: BLE001 - a reward is worth more than its count
            logger.warning("a judgement was not counted: %s", first_line(error))
            return
        if self._answer is None or self._answer.done():
            self._answer = asyncio.ensure_future(self._take(answer))

    async def _take(self, answer: Any) -> None:
        try:
            self.shared = await answer
        except Exception as error:  # noqa: BLE001 - the next row asks again
            logger.warning("the state of rewards was not heard of: %s", first_line(error))


def settings_of(config: Any) -> RewardSettings:
    """The settings in a run's configuration. Raises ``WrongUse``."""
    found = OmegaConf.select(config, KEY)
    return reward_settings(None if found is None else OmegaConf.to_container(found, resolve=True))


def start_state(config: Any) -> ray.actor.ActorHandle:
    """The run's actor on this node, started if it is not there; it lives as long as the process that started it.

    Raises ``RunFailed`` where it cannot start.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"name": STATE_NAME, "get_if_exists": True, "num_cpus": 0, "scheduling_strategy": here}
    actor = ray.remote(SharedState).options(**options).remote(settings_of(config))
    try:
        ray.get(actor.shared.remote())
    except RayError as error:
        raise RunFailed(
            f"the state of rewards cannot start: {first_line(getattr(error, 'cause', None) or error)}"
        ) from error
    return actor


def find_state() -> ray.actor.ActorHandle | None:
    """The run's actor; None without Ray, and under verl's own entry point, which starts none."""
    try:
        return ray.get_actor(STATE_NAME) if ray.is_initialized() else None
    except ValueError:
        return None


def trains_on_placeholders() -> bool:
    """Whether this run has a trainer that takes the placeholder of an unjudged row for its score.

    Ours leaves such rows out, and is started by the task runner that starts the actor as well.
    """
    return ray.is_initialized() and find_state() is None


def state_metrics() -> dict[str, float]:
    """The counts so far, for the trainer's metrics; nothing where no actor runs."""
    actor = find_state()
    return {} if actor is None else ray.get(actor.metrics.remote())


def save_state(folder: Path) -> None:
    """Write the state into a checkpoint's folder, whole or not at all."""
    if (actor := find_state()) is None:
        return
    path = folder / STATE_FILE
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(ray.get(actor.to_json.remote())))
    os.replace(unfinished, path)


def restore_state(folder: Path) -> None:
    """Go on from the state in a checkpoint's folder; from the start where it holds none.

    Raises ``RunFailed`` for a file that cannot be used.
    """
    path = folder / STATE_FILE
    actor = find_state()
    if actor is None:
        return
    if not path.exists():
        logger.warning("there is no %s: what was measured of rewards before is lost", path)
        return
    try:
        found = json.loads(path.read_bytes())
        RewardState().restore(found)
    except (OSError, ValueError, RecursionError) as error:
        raise RunFailed(f"{path} cannot be read ({first_line(error)}); delete it to count rewards afresh") from error
    ray.get(actor.restore.remote(found))
