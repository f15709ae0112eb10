"""verl's queue of trajectories in the memory of a test: as strict about fields as the real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta


class MadeQueue:
    """Stands in for the module ``transfer_queue``. ``rows`` holds the fields of each key, ``tags`` its tags."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, dict[str, Any]] = {}

    def add(self, key: str, tag: Mapping[str, Any] | None = None, **fields: Any) -> None:
        self.rows[key] = fields
        self.tags[key] = dict(tag or {})

    def batch(self) -> KVBatchMeta:
        """All rows, as verl's sampler hands them over: without the names of fields."""
        return KVBatchMeta(partition_id="train", keys=list(self.rows), tags=list(self.tags.values()))

    def values(self, field: str) -> list[Any]:
        return [row[field] for row in self.rows.values()]

    def kv_batch_get(self, keys: Sequence[str], partition_id: str, select_fields: Sequence[str]) -> TensorDict:
        rows = [self.rows[key] for key in keys]
        known = [name for name in select_fields if any(name in row for row in self.rows.values())]
        if lacking := [name for name in known if not all(name in row for row in rows)]:
            raise ValueError(f"fields {lacking} are not ready in all the requested keys")
        return TensorDict({name: _packed([row[name] for row in rows]) for name in known}, batch_size=len(rows))

    def kv_batch_put(self, keys: Sequence[str], partition_id: str, fields: TensorDict) -> KVBatchMeta:
        for name in fields.keys():  # noqa: SIM118 - a TensorDict iterates over its rows
            for key, value in zip(keys, fields[name].unbind(), strict=True):
                self.rows[key][name] = value.clone()
        names = sorted({name for row in self.rows.values() for name in row})
        tags = [self.tags[key] for key in keys]
        return KVBatchMeta(partition_id=partition_id, keys=list(keys), tags=tags, fields=names)


def _packed(values: list[Any]) -> Any:
    if not all(isinstance(value, torch.Tensor) for value in values):
        return NonTensorStack(*values)
    return torch.nested.as_nested_tensor(values, layout=torch.jagged)
