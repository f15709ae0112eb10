"""What trajectories hold, token by token, recorded for replay: token ids, log-probabilities of rollout, rewards.

Invariants: what is read back is what was written, bit for bit; arrays of a batch are in the batch's order, whatever the
order of arrival. A step's trajectories are one Parquet file, which is there whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pangu_verl.errors import RunFailed, first_line
from pangu_verl.scheduler.batch import Batch

Number = TypeVar("Number", np.int32, np.float32)

#: A trajectory's name: its group's key and its member number.
Name = tuple[str, int]

_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("member", pa.int32()),
        ("tokens", pa.list_(pa.field("element", pa.int32()))),
        ("log_probs", pa.list_(pa.field("element", pa.float32()))),
        ("reward", pa.float64()),
    ]
)


@dataclass(frozen=True, eq=False, slots=True)
class Payload:
    """One response: ``tokens`` int32 [length], ``log_probs`` float32 [length] under the policy that made them."""

    tokens: NDArray[np.int32]
    log_probs: NDArray[np.float32]
    reward: float | None


@dataclass(frozen=True, eq=False, slots=True)
class BatchArrays:
    """A batch as arrays, one row a trajectory, padded on the right with 0 to the longest.

    ``tokens`` int32, ``log_probs`` float32 and ``loss_mask`` bool are [trajectories, longest]; ``rewards`` float64
    [trajectories], NaN where none is known. ``loss_mask`` leaves out padding and tokens over the bound.
    """

    tokens: NDArray[np.int32]
    log_probs: NDArray[np.float32]
    loss_mask: NDArray[np.bool_]
    rewards: NDArray[np.float64]


def write_payloads(folder: Path, step: int, payloads: Mapping[Name, Payload]) -> Path:
    """Record the trajectories of a step; returns the file. One that is there already is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, step)
    table = pa.table(
        {
            "key": [key for key, _ in payloads],
            "member": [member for _, member in payloads],
            "tokens": [payload.tokens for payload in payloads.values()],
            "log_probs": [payload.log_probs for payload in payloads.values()],
            "reward": [payload.reward for payload in payloads.values()],
        },
        schema=_SCHEMA,
    )
    partial = path.with_suffix(".partial")
    pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
    os.replace(partial, path)
    return path


def read_payloads(folder: Path, step: int) -> dict[Name, Payload]:
    """What was recorded for a step. Raises ``RunFailed`` where there is nothing, or nothing of this kind."""
    path = _path(folder, step)
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        found = _columns(table.schema)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunFailed(
            f"{path}: expected the recorded trajectories of step {step}: {first_line(error)}; record the run again"
        ) from error
    if found != _columns(_SCHEMA):
        raise RunFailed(f"{path}: expected the columns {_columns(_SCHEMA)}, got {found}; record the run again")
    columns = [table.column(name) for name in _SCHEMA.names]
    return {
        (key.as_py(), member.as_py()): Payload(
            tokens=tokens.values.to_numpy(), log_probs=log_probs.values.to_numpy(), reward=reward.as_py()
        )
        for key, member, tokens, log_probs, reward in zip(*columns, strict=True)
    }


def assemble(batch: Batch, payloads: Mapping[Name, Payload]) -> BatchArrays:
    """The batch's arrays. Raises ``RunFailed`` for a trajectory without payload, or one of another length."""
    names: list[Name] = []
    masked: list[int] = []
    lengths: list[int] = []
    for entry in batch.groups:
        for member, left_out in enumerate(entry.masked_tokens):
            names.append((entry.group.key, member))
            masked.append(left_out)
            lengths.append(entry.group.finished[member].tokens)
    rows = [_payload(payloads, name, length) for name, length in zip(names, lengths, strict=True)]
    positions = np.arange(max(lengths, default=0))
    return BatchArrays(
        tokens=_padded([row.tokens for row in rows], np.int32),
        log_probs=_padded([row.log_probs for row in rows], np.float32),
        loss_mask=(positions >= np.array(masked)[:, None]) & (positions < np.array(lengths)[:, None]),
        rewards=np.array([np.nan if row.reward is None else row.reward for row in rows]),
    )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}.parquet"


def _payload(payloads: Mapping[Name, Payload], name: Name, length: int) -> Payload:
    payload = payloads.get(name)
    if payload is None or not len(payload.tokens) == len(payload.log_probs) == length:
        found = f"{len(payload.tokens)} with {len(payload.log_probs)}" if payload else "none"
        raise RunFailed(
            f"trajectory {name[1]} of group {name[0]!r}: expected {length} tokens with as many log-probabilities, got "
            f"{found}; schedule and payloads are of different runs"
        )
    return payload


def _padded(rows: Sequence[NDArray[Number]], kind: type[Number]) -> NDArray[Number]:
    padded = np.zeros((len(rows), max(map(len, rows), default=0)), dtype=kind)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded
