"""A run's schedule on disk: every verb of the scheduler, in order, a JSON object a line.

Invariant: what is recorded is enough to do it again (``replay``): prompts and arriving trajectories as they came, and
what the scheduler decided. The first line says what was scheduled by what. A killed run leaves a last line that may be
cut off; it is passed over. Token ids and log-probabilities are in ``payloads``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Self

from pangu_verl.errors import RunFailed, WrongUse, first_line
from pangu_verl.queue.entries import Group, Prompt, Segment, Trajectory
from pangu_verl.queue.priority import Priority
from pangu_verl.scheduler.batch import Batch
from pangu_verl.scheduler.record import Record
from pangu_verl.scheduler.scheduler import Scheduler
from pangu_verl.scheduler.settings import SchedulerSettings
from pangu_verl.types import StalenessPolicy

FORMAT = 1
#: What each verb's line holds.
_FIELDS = {
    "admit": ("prompts",),
    "dispatch": ("keys",),
    "complete": ("key", "member", "attempt", "segments", "reward", "is_new"),
    "evict": ("keys",),
    "restart": ("keys",),
    "abandon": ("key", "reason"),
    "take": ("step", "keys", "masked_tokens"),
    "publish": ("version",),
    "adjust": ("bound_versions", "window_groups"),
}


class RecordingScheduler(Scheduler):
    """A scheduler that writes its schedule to ``path`` as it goes. Close it, or use it as a context manager."""

    def __init__(
        self,
        path: Path,
        settings: SchedulerSettings,
        policy: StalenessPolicy,
        priority: Priority | None = None,
        record: Record | None = None,
    ) -> None:
        super().__init__(settings, policy, priority, record)
        if path.exists():
            raise WrongUse(f"{path} holds the schedule of another run; give a new file")
        self._file = path.open("w", encoding="utf-8")
        self._write("schedule", **self.heading())

    @classmethod
    def restore(cls, *_: object, **__: object) -> Self:
        """A schedule is replayed from a run's start, so a resumed run records none."""
        raise WrongUse("a resumed run cannot record its schedule: it is replayed from the run's start; switch it off")

    def __enter__(self) -> RecordingScheduler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def heading(self) -> dict[str, Any]:
        """What the schedule depends on besides the events."""
        return heading_of(self.settings, self.policy, self._priority)

    def admit(self, prompts: Sequence[Prompt]) -> list[Group]:
        groups = super().admit(prompts)
        self._write("admit", prompts=[asdict(prompt) for prompt in prompts])
        return groups

    def dispatch(self, limit_groups: int) -> list[Group]:
        groups = super().dispatch(limit_groups)
        if groups:
            self._write("dispatch", keys=_keys(groups))
        return groups

    def complete(self, key: str, member: int, trajectory: Trajectory, attempt: int) -> bool:
        is_new = super().complete(key, member, trajectory, attempt)
        if key not in self.live:
            # A ledger alone knows the groups of the past; an answer for one of them changes nothing.
            return is_new
        self._write(
            "complete",
            key=key,
            member=member,
            attempt=attempt,
            segments=trajectory.segments,
            reward=trajectory.reward,
            is_new=is_new,
        )
        return is_new

    def evict(self) -> list[Group]:
        groups = super().evict()
        # Also where nothing was given up: what has been examined is not examined again.
        self._write("evict", keys=_keys(groups))
        return groups

    def restart(self, keys: Iterable[str]) -> list[Group]:
        groups = super().restart(keys)
        self._write("restart", keys=_keys(groups))
        return groups

    def abandon(self, key: str, reason: str) -> Group:
        group = super().abandon(key, reason)
        self._write("abandon", key=key, reason=reason)
        return group

    def take(self) -> Batch | None:
        batch = super().take()
        if batch is not None:
            masked = [entry.masked_tokens for entry in batch.groups]
            self._write(
                "take", step=batch.step, keys=_keys(entry.group for entry in batch.groups), masked_tokens=masked
            )
        return batch

    def publish(self) -> int:
        version = super().publish()
        self._write("publish", version=version)
        return version

    def adjust(self, bound_versions: int, window_groups: int | None) -> None:
        super().adjust(bound_versions, window_groups)
        self._write("adjust", bound_versions=bound_versions, window_groups=window_groups)

    def _write(self, verb: str, **fields: Any) -> None:
        # A line at a time: what the process has done is on its way to the disk when it is killed.
        self._file.write(json.dumps({"verb": verb, **fields}, separators=(",", ":")) + "\n")
        self._file.flush()


def heading_of(settings: SchedulerSettings, policy: StalenessPolicy, priority: Priority) -> dict[str, Any]:
    """As in the first line of a schedule."""
    options: dict[str, Any] = asdict(policy) if is_dataclass(policy) and not isinstance(policy, type) else {}
    described = {"name": policy.name, **options}
    return {"format": FORMAT, "settings": asdict(settings), "policy": described, "priority": priority.weights}


def read_schedule(path: Path) -> list[dict[str, Any]]:
    """The heading of a schedule, then its events; ``WrongUse`` for a file that is none, ``RunFailed`` for a hole.

    ``admit`` holds ``prompts`` as such, ``complete`` its ``trajectory``.
    """
    try:
        first, *lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise WrongUse(f"{path} cannot be read ({first_line(error)}); give the schedule.jsonl of a run") from error
    events = [_heading(path, first)]
    for number, line in enumerate(lines, start=2):
        try:
            events.append(_event(line))
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            if number == len(lines) + 1:
                break
            shown = line[:60].decode(errors="replace")
            raise RunFailed(
                f"{path}, line {number}: expected a verb of the scheduler, got {shown!r}; the file is damaged"
            ) from error
    return events


def _heading(path: Path, line: bytes) -> dict[str, Any]:
    try:
        heading: dict[str, Any] = json.loads(line)
        is_ours = heading["verb"] == "schedule" and heading["format"] == FORMAT
    except (ValueError, LookupError, TypeError, RecursionError):
        is_ours = False
    if not is_ours:
        raise WrongUse(f"{path} is no schedule of format {FORMAT}; give the schedule.jsonl of a run")
    return heading


def _event(line: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(line)
    for name in _FIELDS[event["verb"]]:
        event[name]
    if event["verb"] == "admit":
        event["prompts"] = [Prompt(**prompt) for prompt in event["prompts"]]
    if event["verb"] == "complete":
        segments = tuple(Segment(*segment) for segment in event["segments"])
        event["trajectory"] = Trajectory(segments, event["reward"])
    return event


def _keys(groups: Iterable[Group]) -> list[str]:
    return [group.key for group in groups]
