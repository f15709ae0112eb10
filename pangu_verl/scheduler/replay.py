"""Does a recorded schedule again: the same arrivals in the same order, and every decision held to the recorded one.

Invariant: a replay that ends has made exactly the batches of the recorded run; the first decision that differs stops it
with both sides. What the batches held, token by token, is read from ``payloads``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pangu_verl.errors import PanguError, RunFailed, WrongUse
from pangu_verl.queue.priority import Priority
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.recording import heading_of, read_schedule
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import StalenessPolicy


def replay(
    path: Path, settings: SchedulerSettings, policy: StalenessPolicy, priority: Priority | None = None
) -> Iterator[Batch]:
    """The batches of the run recorded in ``path``, each as it is taken.

    Raises ``WrongUse`` where the run was scheduled under other settings, and ``RunFailed`` at the first decision that
    is not the recorded one: the code, a plugin or the file has changed.
    """
    heading, *events = read_schedule(path)
    _compare_heading(path, heading, heading_of(settings, policy, priority or Priority((), {})))
    scheduler = Scheduler(settings, policy, priority)
    for number, event in enumerate(events, start=2):
        try:
            found, batch = _do(scheduler, event)
        except PanguError as error:
            raise RunFailed(
                f"{path}, line {number}: the recorded run did {event['verb']}, the replay cannot: {error}"
            ) from error
        expected = {name: event[name] for name in found}
        if found != expected:
            raise RunFailed(
                f"{path}, line {number}: the recorded run did {event['verb']} with {_short(expected)}, the replay with "
                f"{_short(found)}; the schedule, the code or a plugin has changed since"
            )
        if batch is not None:
            yield batch


def _do(scheduler: Scheduler, event: dict[str, Any]) -> tuple[dict[str, Any], Batch | None]:
    """Do one event; what was decided, under the names of the record, and the batch where one was taken."""
    match event["verb"]:
        case "admit":
            scheduler.admit(event["prompts"])
        case "dispatch":
            return {"keys": _keys(scheduler.dispatch(len(event["keys"])))}, None
        case "complete":
            is_new = scheduler.complete(event["key"], event["member"], event["trajectory"], event["attempt"])
            return {"is_new": is_new}, None
        case "evict":
            return {"keys": _keys(scheduler.evict())}, None
        case "restart":
            return {"keys": _keys(scheduler.restart(event["keys"]))}, None
        case "abandon":
            scheduler.abandon(event["key"], event["reason"])
        case "take":
            batch = scheduler.take()
            if batch is None:
                return {"keys": []}, None
            masked = [list(entry.masked_tokens) for entry in batch.groups]
            keys = _keys(entry.group for entry in batch.groups)
            return {"step": batch.step, "keys": keys, "masked_tokens": masked}, batch
        case "publish":
            return {"version": scheduler.publish()}, None
        case "adjust":
            scheduler.adjust(event["bound_versions"], event["window_groups"])
    return {}, None


def _compare_heading(path: Path, recorded: dict[str, Any], present: dict[str, Any]) -> None:
    # Through JSON, which knows neither tuples nor the types of mappings.
    present = json.loads(json.dumps(present))
    for name, value in present.items():
        if recorded.get(name) != value:
            raise WrongUse(
                f"{path} was recorded with {name} {recorded.get(name)}, this run has {value}; use the recorded one"
            )


def _keys(groups: Any) -> list[str]:
    return [group.key for group in groups]


def _short(value: dict[str, Any]) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
