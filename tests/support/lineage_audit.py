"""What a run's newest checkpoint and its metrics say of the prompts along its line of checkpoints.

Shares no code with the scheduler and the ledger: SQL on the ledger's snapshot, and verl's own state of its data loader.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as parquet
import torch

_LIVE = "(0, 1, 2)"


def saved_step(folder: Path) -> int:
    """Of the newest checkpoint of a run's folder; 0 without one."""
    latest = folder / "checkpoints" / "latest_checkpointed_iteration.txt"
    return int(latest.read_text()) if latest.exists() else 0


def audit(folder: Path, *, batch_groups: int, bound_versions: int) -> None:
    """No prompt is lost or trained on twice, and no token over the bound was trained on."""
    step = saved_step(folder)
    assert step, "there is no checkpoint"
    checkpoint = folder / "checkpoints" / f"global_step_{step}"
    [snapshot] = (checkpoint / "ledger").glob("*.sqlite")
    with closing(sqlite3.connect(f"file:{snapshot}?mode=ro", uri=True)) as ledger:
        counters = dict(ledger.execute("SELECT name, count FROM counters"))
        trained = {key for (key,) in ledger.execute("SELECT key FROM spent WHERE step IS NOT NULL")}
        live = {key for (key,) in ledger.execute(f"SELECT key FROM groups WHERE state IN {_LIVE}")}
    assert len(trained) == counters["consumed"] == step * batch_groups
    assert not trained & live
    assert counters["admitted"] == len(trained) + len(live)
    _audit_rows(folder, checkpoint, counters["admitted"])
    assert max(_lags(folder)) <= bound_versions


def _audit_rows(folder: Path, checkpoint: Path, admitted: int) -> None:
    """Each row of the data set that the loader gave became one prompt, and no other in the same epoch."""
    num_rows = parquet.read_metadata(folder / "data" / "train.parquet").num_rows
    [known] = (checkpoint / "ledger").glob("known_prompts.json")
    assert len(json.loads(known.read_text())["prompts"]) == min(admitted, num_rows)
    given = torch.load(checkpoint / "data.pt", weights_only=False)["_num_yielded"]
    assert (admitted - given) % num_rows == 0, (admitted, given)


def _lags(folder: Path) -> list[float]:
    """The largest of each step, of all sessions of the run."""
    lines = [line for file in folder.glob("metrics*.jsonl") for line in file.read_text().split("\n")[:-1]]
    found = [json.loads(line)["data"].get("scheduler/lag_versions/max") for line in lines]
    return [lag for lag in found if lag is not None]
