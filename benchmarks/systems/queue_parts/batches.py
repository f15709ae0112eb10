"""The ledger's verbs on batches beside bare SQLite: batch by batch in turn, so that both meet the same disk.

Ours checks every key and state, counts, and keeps leases; the bare one is handed its rows and asks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rewards_parts.measuring import median_ratio, spread

from pangu_verl.queue.entries import Group
from pangu_verl.queue.ledger import Ledger
from pangu_verl.queue.ledger_store import Durability

from . import BATCH, Scale
from .bare import Bare, Work
from .made import LEASE_S, MEMBERS, RUN, completions, in_batches, made_groups, seconds

VERBS = ("admit", "lease", "complete", "consume")


def measure(scale: Scale, folder: Path) -> dict[str, Any]:
    return {durability.value: _of(durability, scale, folder) for durability in Durability}


def table(figures: dict[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = [["items a second", "ours", "bare SQLite", "ours / bare"]]
    for durability in Durability:
        for verb in VERBS:
            found = figures[durability.value][verb]
            ours, bare = found["ours_per_second"]["median"], found["bare_per_second"]["median"]
            rows.append([f"{durability} {verb}", ours, bare, found["median_ratio"]])
        rows.append([f"{durability} all four", None, None, figures[durability.value]["all"]["median_ratio"]])
    return rows


def _of(durability: Durability, scale: Scale, folder: Path) -> dict[str, Any]:
    passes = [_pass(durability, scale, folder / f"{durability}_{repeat}", repeat) for repeat in range(scale.repeats)]
    figures: dict[str, Any] = {}
    for verb in VERBS:
        num_items = scale.num_batches * BATCH * (MEMBERS if verb == "complete" else 1)
        ours, bare = ([num_items / times[verb][side] for times in passes] for side in ("ours", "bare"))
        figures[verb] = {
            "ours_per_second": spread(ours),
            "bare_per_second": spread(bare),
            "median_ratio": median_ratio(ours, bare),
        }
    whole = [{side: sum(times[verb][side] for verb in VERBS) for side in ("ours", "bare")} for times in passes]
    return figures | {
        "all": {"median_ratio": median_ratio([each["bare"] for each in whole], [each["ours"] for each in whole])}
    }


def _pass(durability: Durability, scale: Scale, folder: Path, repeat: int) -> dict[str, dict[str, float]]:
    """Seconds by verb and side, of one pass over new files."""
    folder.mkdir()
    groups = made_groups(scale.num_batches * BATCH)
    times = {verb: {"ours": 0.0, "bare": 0.0} for verb in VERBS}
    bare = Bare(folder / "bare.sqlite", durability)
    with Ledger.create(folder / "ours.sqlite", RUN, durability) as ledger:
        for number, (verb, ours, theirs) in enumerate(_turns(ledger, bare, groups)):
            sides = [("ours", ours), ("bare", theirs)]
            for side, work in sides if (number + repeat) % 2 else sides[::-1]:
                times[verb][side] += seconds(work)
    bare.close()
    return times


def _turns(ledger: Ledger, bare: Bare, groups: Sequence[Group]) -> Iterator[tuple[str, Work, Work]]:
    """The same batch for both, one after another. A batch of trajectories makes whole groups ready."""
    for batch in in_batches(groups, BATCH):
        keys = [group.key for group in batch]
        yield "admit", partial(ledger.admit, batch), bare.admit(batch)
        yield "lease", partial(ledger.lease, keys, 0, "rollout", LEASE_S), bare.lease(batch)
        for part in in_batches(batch, BATCH // MEMBERS):
            finished = completions(part)
            yield "complete", partial(ledger.complete_many, finished), bare.complete(part, finished)
        yield "consume", partial(ledger.consume, keys, 1), bare.consume(batch)
