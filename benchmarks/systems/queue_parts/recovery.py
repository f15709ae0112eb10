"""Opening a large ledger after its process was killed, and rebuilding every record of it that training still needs.

The files are what a killed process leaves, log included; they lie in the page cache.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rewards_parts.measuring import spread

from pangu_verl.queue.entries import LIVE_STATES, Group
from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.ledger_store import Durability

from . import Scale
from .made import LEASE_S, MEMBERS, RUN, completions, in_batches, made_groups, milliseconds_table, seconds


def measure(scale: Scale, folder: Path) -> dict[str, Any]:
    contents: dict[str, Callable[[Ledger, int], None]] = {"all waiting": _waiting, "a tenth in work": _in_work}
    return {name: _recovery(fill, scale, folder / name.replace(" ", "_")) for name, fill in contents.items()}


def table(figures: dict[str, Any]) -> list[list[object]]:
    return milliseconds_table("open and rebuild", figures)


def _recovery(fill: Callable[[Ledger, int], None], scale: Scale, folder: Path) -> dict[str, Any]:
    times = []
    folder.mkdir()
    with Ledger.create(folder / "live.sqlite", RUN, Durability.NORMAL) as live:
        fill(live, scale.num_entries)
        for repeat in range(scale.repeats):
            path = folder / f"killed_{repeat}.sqlite"
            for ending in ("", "-wal"):
                shutil.copyfile(f"{live.path}{ending}", f"{path}{ending}")
            found: list[Group] = []
            times.append(seconds(lambda path=path, found=found: _rebuild(path, found)))  # type: ignore[misc]
    return {"groups": len(found), "trajectories": sum(len(group.finished) for group in found), **spread(times)}


def _rebuild(path: Path, found: list[Group]) -> None:
    with Ledger.open(path, RUN, Durability.NORMAL) as ledger:
        found.extend(ledger.groups(LIVE_STATES))


def _waiting(ledger: Ledger, num_entries: int) -> None:
    ledger.admit(made_groups(num_entries))


def _in_work(ledger: Ledger, num_entries: int) -> None:
    """Half of that tenth is whole, half of it half done."""
    groups = made_groups(num_entries)
    ledger.admit(groups)
    for batch in in_batches(groups[: num_entries // 10], 1000):
        ledger.lease([group.key for group in batch], 0, "rollout", LEASE_S)
        whole = len(batch) // 2
        ledger.complete_many([*completions(batch[:whole]), *completions(batch[whole:], MEMBERS // 2)])
