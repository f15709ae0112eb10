"""The groups that are to be ordered, as the columns that a term of the priority sees.

Invariant: row i of every column speaks of the same group; columns have one type each and cannot be written to, so one
term cannot mislead the next. Nothing is ordered here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pangu_verl.queue.entries import Group

IntColumn = NDArray[np.int64]
FloatColumn = NDArray[np.float64]

#: What the order is for: which waiting group starts, which request runs first, which ready group is trained on.
Point = Literal["dispatch", "request", "select"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidates:
    """``len()`` groups at policy version ``version``; all columns but the two of tasks have that many rows.

    ``started_versions`` is -1 where a group waits; ``expected_tokens`` and ``pass_rates`` (0..1) are NaN where nothing
    is known; ``tasks`` are indices into ``task_names``. ``bounds_versions`` is each group's staleness bound.

    By task: ``taken_groups`` is what each task has had so far, in groups' worth (its trajectories / trajectories of a
    group, or its tokens / mean tokens of a group): what was trained on, and for "dispatch" and "request" also what is
    under way, or else a task that is behind would be sent for again and again until its first group is back.
    ``target_shares`` is what it is meant to have, relative to the other tasks; NaN where nothing is meant.
    """

    point: Point
    version: int
    orders: IntColumn
    admitted_versions: IntColumn
    started_versions: IntColumn
    bounds_versions: IntColumn
    tasks: IntColumn
    expected_tokens: FloatColumn
    pass_rates: FloatColumn
    finished_trajectories: IntColumn
    trajectories: IntColumn
    task_names: tuple[str, ...]
    taken_groups: FloatColumn
    target_shares: FloatColumn

    def __post_init__(self) -> None:
        for field in fields(self):
            if "Column" in str(field.type):
                length = len(self.task_names if field.name in ("taken_groups", "target_shares") else self.orders)
                view = _checked(field.name, getattr(self, field.name), str(field.type), length)
                object.__setattr__(self, field.name, view)
        for name in ("taken_groups", "target_shares"):
            if (getattr(self, name) < 0.0).any() or np.isinf(getattr(self, name)).any():
                raise ValueError(f"column {name!r} of candidates: expected finite numbers of 0 or more")

    def __len__(self) -> int:
        return len(self.orders)

    @classmethod
    def of(
        cls,
        groups: Sequence[Group],
        *,
        point: Point,
        version: int,
        bound_of: Callable[[str], int],
        taken_groups: Mapping[str, float] | None = None,
        target_shares: Mapping[str, float] | None = None,
    ) -> Candidates:
        """The columns of ``groups``, in the order given. ``bound_of`` gives the bound of a task in versions."""
        taken, targets = taken_groups or {}, target_shares or {}
        group_tasks = [group.prompt.task for group in groups]
        names = tuple(sorted({*group_tasks, *taken, *targets}))
        index = {name: number for number, name in enumerate(names)}
        task_bounds = {name: bound_of(name) for name in set(group_tasks)}
        return cls(
            point=point,
            version=version,
            orders=_integers([group.order for group in groups]),
            admitted_versions=_integers([group.admitted_version for group in groups]),
            started_versions=_integers(
                [-1 if group.started_version is None else group.started_version for group in groups]
            ),
            bounds_versions=_integers([task_bounds[task] for task in group_tasks]),
            tasks=_integers([index[task] for task in group_tasks]),
            expected_tokens=_floats([group.prompt.expected_tokens for group in groups]),
            pass_rates=_floats([group.prompt.pass_rate for group in groups]),
            finished_trajectories=_integers([len(group.finished) for group in groups]),
            trajectories=_integers([group.prompt.trajectories for group in groups]),
            task_names=names,
            taken_groups=_floats([taken.get(name, 0.0) for name in names]),
            target_shares=_floats([targets.get(name) for name in names]),
        )


def _checked(name: str, column: Any, kind: str, length: int) -> Any:
    expected = np.dtype(np.int64 if kind == "IntColumn" else np.float64)
    if not isinstance(column, np.ndarray) or column.dtype != expected or column.shape != (length,):
        found = f"{column.dtype} of shape {column.shape}" if isinstance(column, np.ndarray) else type(column).__name__
        raise ValueError(f"column {name!r} of candidates: expected {expected} of shape ({length},), got {found}")
    view = column.view()
    view.flags.writeable = False
    return view


def _integers(values: list[int]) -> IntColumn:
    return np.array(values, dtype=np.int64)


def _floats(values: list[float | None]) -> FloatColumn:
    # NumPy reads None as NaN.
    return np.array(values, dtype=np.float64)
