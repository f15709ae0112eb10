"""The rows of live prompts, as verl's data loader gave them: at hand for dispatch, in TransferQueue for checkpoints.

Invariant: a prompt's row is kept from admission until its group is trained on or given up, so a group can always be
generated anew. verl's uid of a generation is ``key.attempt``: an answer of an attempt that was given up cannot be taken
for one of the next.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import transfer_queue as tq
from tensordict import TensorDict
from tensordict.tensorclass import NonTensorData
from verl.utils import tensordict_utils

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.scheduling.known_prompts import KnownPrompts
from pangu_verl.queue.entries import Group, Prompt

#: Beside verl's partitions "train" and "val".
PARTITION = "pangu_prompts"
_TASK_COLUMN = "data_source"


def uid_of(key: str, attempt: int) -> str:
    """Under which verl generates an attempt at a prompt. Has no underscore, at which verl splits its keys."""
    return f"{key}.{attempt}"


def group_of(uid: str) -> tuple[str, int]:
    """Key and attempt of a uid that ``uid_of`` made."""
    key, _, attempt = uid.rpartition(".")
    return key, int(attempt)


class PromptRows:
    """Rows by the key of their prompt, one each; ``trajectories`` are generated for every prompt.

    ``known`` are those that came before, and what came of them (None: nobody keeps that).
    """

    def __init__(self, trajectories: int, known: KnownPrompts | None = None) -> None:
        self.known = known or KnownPrompts(0)
        self._trajectories = trajectories
        self._rows: dict[str, TensorDict] = {}

    def keep(self, rows: TensorDict) -> list[Prompt]:
        """Take in what verl's loader gave, whose ``uid`` becomes the prompt's key."""
        rows = rows.select(*_columns(rows))
        keys = [str(uid) for uid in rows["uid"]]
        tq.kv_batch_put(keys=keys, partition_id=PARTITION, fields=rows, tags=[{} for _ in keys])
        self._rows.update(_by_key(keys, rows))
        columns = [_cells(rows, name, len(keys)) for name in (_TASK_COLUMN, "raw_prompt", "index")]
        return [self._prompt(key, *cells) for key, *cells in zip(keys, *columns, strict=True)]

    def _prompt(self, key: str, task: Any, messages: Any, index: Any) -> Prompt:
        task = "any" if task is None else str(task)
        row = self.known.row_of(task, messages, index)
        estimate = self.known.estimate(task, row)
        return Prompt(key=key, task=task, trajectories=self._trajectories, row=row, **estimate._asdict())

    def load(self, keys: Collection[str]) -> None:
        """Take them from the restored TransferQueue, which forgets all others.

        Raises ``RunFailed`` where one is missing.
        """
        held = set((tq.kv_list(PARTITION) or {}).get(PARTITION, {}))
        if missing := set(keys) - held:
            raise RunFailed(
                f"the checkpoint's TransferQueue has no prompt {min(missing)!r} ({len(missing)} are missing), but its "
                "ledger does; resume from another checkpoint"
            )
        if surplus := held - set(keys):
            tq.kv_clear(keys=sorted(surplus), partition_id=PARTITION)
        if wanted := list(keys):
            self._rows = _by_key(wanted, tq.kv_batch_get(keys=wanted, partition_id=PARTITION))

    def of(self, groups: Sequence[Group], step: int, priorities: Sequence[int] | None = None) -> TensorDict:
        """What verl's agent loops are given to generate the present attempt of ``groups`` at training step ``step``.

        ``priorities``, one for each group, go with its requests to the servers; lower numbers are run first.
        """
        rows = [self._rows[group.key] for group in groups]
        batch = (rows[0] if len(rows) == 1 else tensordict_utils.concat_tensordict(rows)).copy()
        uids = np.array([uid_of(group.key, group.attempt) for group in groups], dtype=object)
        batch["uid"] = tensordict_utils.get_tensordict({"uid": uids})["uid"]
        if priorities is not None:
            batch["priority"] = torch.tensor(priorities, dtype=torch.int64)
        tensordict_utils.assign_non_tensor_data(batch, "global_steps", step)
        return batch

    def forget(self, keys: Iterable[str]) -> None:
        gone = [key for key in keys if self._rows.pop(key, None) is not None]
        if gone:
            tq.kv_clear(keys=gone, partition_id=PARTITION)


def _columns(rows: TensorDict) -> list[str]:
    """Those with a value for each row; what is one for all is set anew at dispatch."""
    return [name for name in rows.keys() if not isinstance(rows.get(name), NonTensorData)]  # noqa: SIM118


def _cells(rows: TensorDict, name: str, number: int) -> list[Any]:
    """Of a column that may be missing, as plain values."""
    if name not in rows.keys():  # noqa: SIM118
        return [None] * number
    cells = [getattr(cell, "data", cell) for cell in rows[name]]
    return [cell.tolist() if isinstance(cell, np.ndarray | np.generic | torch.Tensor) else cell for cell in cells]


def _by_key(keys: Sequence[str], rows: TensorDict) -> dict[str, TensorDict]:
    # TransferQueue gives tensors back as nested ones, of which no part can be cut out.
    columns = {name: rows.get(name) for name in rows.keys()}  # noqa: SIM118
    nested = {name: column.unbind() for name, column in columns.items() if getattr(column, "is_nested", False)}
    regular = rows.exclude(*nested)
    found = {}
    for place, key in enumerate(keys):
        found[key] = regular[place : place + 1]
        found[key].update({name: cells[place].unsqueeze(0) for name, cells in nested.items()})
    return found
