"""What past trajectories say of a prompt: its pass rate and its length, for prompts that come again.

Estimates are posterior means with a task's own mean as the prior, so a row that was seen once counts for a little and
a row never seen for its task. Invariants: memory is ``num_rows`` x 32 bytes and does not grow with what is recorded; a
trajectory that could not be judged says nothing of the pass rate; what ``to_json`` gives and ``from_json`` takes is the
same history. All constants are project defaults. What is done with the estimates is in ``pangu_verl.queue.terms``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pangu_verl.errors import WrongUse

#: A task's mean weighs as much in a row's estimate as this many trajectories of the row.
PRIOR_TRAJECTORIES = 4.0
#: What is known of a row or a task weighs this much less with each further group, since the policy moves. A row comes
#: back once an epoch; a task's mean remembers about a thousand groups.
ROW_MEMORY = 0.5
TASK_MEMORY = 0.999
FORMAT = 1

#: Columns of what is known: how many were judged, how many of these passed, how many were measured, their tokens.
_JUDGED, _PASSED, _MEASURED, _TOKENS = range(4)
_NAMES = ("judged", "passed", "measured", "tokens")


class Estimate(NamedTuple):
    """``pass_rate`` (0..1) and ``expected_tokens`` of one trajectory, as ``Prompt`` takes them; None: not known."""

    pass_rate: float | None
    expected_tokens: float | None


class PromptHistory:
    """Past pass rates and lengths by row of a data set of ``num_rows`` rows (0 where rows do not come again).

    With a the trajectories of a row (older groups weigh ``ROW_MEMORY`` less each), m their mean and k =
    ``PRIOR_TRAJECTORIES``, the estimate is (a m + k p) / (a + k). For pass rates this is the mean of a Beta posterior
    with prior Beta(k p, k (1 - p)), p the task's (passed + 1) / (judged + 2), which is Laplace's rule of succession;
    for lengths p is the task's mean.
    """

    def __init__(self, num_rows: int) -> None:
        if num_rows < 0:
            raise WrongUse(f"a data set has 0 or more rows, not {num_rows}")
        self._rows = np.zeros((num_rows, len(_NAMES)))
        self._tasks: dict[str, NDArray[np.float64]] = {}

    @property
    def num_rows(self) -> int:
        return len(self._rows)

    def record(self, task: str, row: int | None, passed: Sequence[bool | None], tokens: Sequence[int]) -> None:
        """Take in one group: whether each trajectory passed (None: not judged), and the tokens of each finished one.

        To be called when a group is finished, not when it is trained on: what is dropped on the way is long, and an
        estimate without it would be too short. A row is always of the same task; None tells of the task alone.
        """
        self._check_row(row)
        if any(number < 0 for number in tokens):
            raise ValueError(f"a trajectory has 0 or more tokens, not {min(tokens)}")
        judged = [verdict for verdict in passed if verdict is not None]
        seen = np.array([len(judged), sum(judged), len(tokens), sum(tokens)], dtype=np.float64)
        of_task = self._tasks.setdefault(task, np.zeros(len(_NAMES)))
        _add(of_task, seen, TASK_MEMORY)
        if row is not None:
            _add(self._rows[row], seen, ROW_MEMORY)

    def estimate(self, task: str, row: int | None) -> Estimate:
        """What is expected of one trajectory of this prompt; raises ``WrongUse`` for a row outside of the data set."""
        self._check_row(row)
        if (of_task := self._tasks.get(task)) is None:
            return Estimate(None, None)
        judged, passed, measured, tokens = of_task.tolist()
        of_row = [0.0] * len(_NAMES) if row is None else self._rows[row].tolist()
        pass_rate = expected_tokens = None
        if judged > 0.0:
            pass_rate = _posterior(of_row[_PASSED], of_row[_JUDGED], (passed + 1.0) / (judged + 2.0))
        if measured > 0.0:
            expected_tokens = _posterior(of_row[_TOKENS], of_row[_MEASURED], tokens / measured)
        return Estimate(pass_rate, expected_tokens)

    def to_json(self) -> dict[str, Any]:
        """The history as JSON data: of the rows only those that were seen, column by column."""
        seen = np.flatnonzero(self._rows.any(axis=1))
        return {
            "format": FORMAT,
            "num_rows": self.num_rows,
            "tasks": {task: dict(zip(_NAMES, known.tolist(), strict=True)) for task, known in self._tasks.items()},
            "rows": {"row": seen.tolist()} | dict(zip(_NAMES, self._rows[seen].T.tolist(), strict=True)),
        }

    @classmethod
    def from_json(cls, found: object) -> Self:
        """Raises ``ValueError`` for anything that ``to_json`` cannot have written."""
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"expected a history of prompts in format {FORMAT}")
        num_rows, tasks, rows = found.get("num_rows"), found.get("tasks"), found.get("rows")
        if isinstance(num_rows, bool) or not isinstance(num_rows, int) or num_rows < 0:
            raise ValueError(f"expected the number of rows of the data set in 'num_rows', got {num_rows!r}")
        if not isinstance(tasks, dict) or not isinstance(rows, dict):
            raise ValueError("expected what is known by 'tasks' and by 'rows'")
        history = cls(num_rows)
        for task, known in tasks.items():
            columns = {name: [known.get(name)] for name in _NAMES} if isinstance(known, dict) else {}
            history._tasks[str(task)] = _columns(f"task {task!r}", columns, 1)[0]
        positions = _positions(rows.get("row"), num_rows)
        history._rows[positions] = _columns("the rows", rows, len(positions))
        return history

    def _check_row(self, row: int | None) -> None:
        # A negative number would otherwise be taken from the end.
        if row is not None and not 0 <= row < self.num_rows:
            raise WrongUse(
                f"row {row} is outside of the {self.num_rows} rows that the history of prompts was made for; "
                "it belongs to another data set: start with a new history"
            )


def _add(known: NDArray[np.float64], seen: NDArray[np.float64], memory: float) -> None:
    """Pass rates and lengths fade apart: a group that was not judged leaves the pass rate as it was."""
    for pair in (slice(_JUDGED, _PASSED + 1), slice(_MEASURED, _TOKENS + 1)):
        if seen[pair.start] > 0.0:
            known[pair] = known[pair] * memory + seen[pair]


def _posterior(total: float, count: float, prior_mean: float) -> float:
    return (total + PRIOR_TRAJECTORIES * prior_mean) / (count + PRIOR_TRAJECTORIES)


def _positions(found: object, num_rows: int) -> NDArray[np.int64]:
    if not isinstance(found, list) or not all(type(row) is int and 0 <= row < num_rows for row in found):
        raise ValueError(f"expected rows 0 to {num_rows - 1} in 'row'")
    if len(set(found)) != len(found):
        raise ValueError("a row comes twice in the history of prompts")
    return np.array(found, dtype=np.int64)


def _columns(whose: str, found: dict[str, Any], length: int) -> NDArray[np.float64]:
    """One line of the four numbers for each of ``length`` rows."""
    for name in _NAMES:
        column = found.get(name)
        if not isinstance(column, list) or len(column) != length or not all(_is_amount(value) for value in column):
            raise ValueError(f"expected {length} finite numbers of 0 or more as {name!r} of {whose}")
    known = np.array([found[name] for name in _NAMES], dtype=np.float64).T.reshape(length, len(_NAMES))
    if (known[:, _PASSED] > known[:, _JUDGED]).any():
        raise ValueError(f"more trajectories passed than were judged in {whose}")
    return known


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max
