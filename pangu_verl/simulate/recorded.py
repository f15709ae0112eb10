"""Recorded traces: lengths of real responses, read from a JSONL, parquet or CSV file.

Columns: ``prompt`` (text or whole number, names the prompt), ``tokens`` (of one response, at least 1), and if wanted
``task`` and ``prompt_tokens``; a column of another name is refused. Invariants: what is wrong is a ``WrongUse`` that
names file, row (from 1, the header not counted) and field; prompts come in the order of the file, over and over.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Annotated

import pyarrow
import pyarrow.parquet as parquet
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pangu_verl.errors import WrongUse, first_line
from pangu_verl.queue.entries import Prompt
from pangu_verl.simulate.checking import checked
from pangu_verl.simulate.streams import Use, stream
from pangu_verl.simulate.traces import TOTAL_SIGMA, Responses, Trace, named_trace

_BATCH_ROWS = 4_096


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected a number or a text, not true or false")
    return value


Whole = Annotated[int, BeforeValidator(_no_truth_value)]


class RecordedRow(BaseModel):
    """One response of a recorded run."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    prompt: Annotated[str, BeforeValidator(_no_truth_value)]
    tokens: Annotated[Whole, Field(ge=1)]
    task: str = "any"
    prompt_tokens: Annotated[Whole, Field(ge=0)] = 0


@dataclass(slots=True)
class _RecordedPrompt:
    task: str
    prompt_tokens: int
    tokens: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RecordedTrace:
    """Each attempt at a group draws its members from the prompt's responses.

    Without replacement where there are enough of them, with replacement otherwise. Nothing is known of rewards.
    """

    name: str
    seed: int
    trajectories: int
    prompts: tuple[_RecordedPrompt, ...]

    @property
    def mean_tokens(self) -> float:
        """Each prompt counts once, however many of its responses were recorded."""
        return mean(mean(found.tokens) for found in self.prompts)

    def task_means(self) -> dict[str, float]:
        by_task: defaultdict[str, list[float]] = defaultdict(list)
        for found in self.prompts:
            by_task[found.task].append(mean(found.tokens))
        return {task: mean(means) for task, means in by_task.items()}

    def prompt(self, index: int) -> Prompt:
        return Prompt(key=f"p{index}", task=self._at(index).task, trajectories=self.trajectories, row=index)

    def prompt_tokens(self, index: int) -> int:
        return self._at(index).prompt_tokens

    def responses(self, index: int, attempt: int) -> Responses:
        recorded = self._at(index).tokens
        draws = stream(self.seed, Use.SAMPLES, index, attempt)
        drawn = draws.choice(recorded, self.trajectories, replace=len(recorded) < self.trajectories)
        return Responses(drawn.tolist(), [None] * self.trajectories)

    def _at(self, index: int) -> _RecordedPrompt:
        return self.prompts[index % len(self.prompts)]


def read_trace(path: Path, *, seed: int, trajectories: int = 8) -> RecordedTrace:
    """A recorded trace for groups of ``trajectories``; the ending says how the file is written."""
    readers = {".jsonl": _jsonl_rows, ".parquet": _parquet_rows, ".csv": _csv_rows}
    if path.suffix not in readers:
        raise WrongUse(f"{path} is no trace: expected a file ending in {', '.join(readers)}; rename or convert it")
    if not path.is_file():
        raise WrongUse(f"there is no file {path}; check the path")
    if seed < 0 or trajectories < 1:
        raise WrongUse(f"seed is 0 or more and trajectories at least 1, not {seed} and {trajectories}")
    prompts: dict[str, _RecordedPrompt] = {}
    try:
        for number, found in enumerate(readers[path.suffix](path), start=1):
            where = f"{path} row {number}"
            _gather(checked(RecordedRow, found, where), prompts, where)
    except (OSError, UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
        raise WrongUse(f"{path} cannot be read ({first_line(error)}); write it anew") from error
    if not prompts:
        raise WrongUse(f"{path} holds no rows; a trace needs at least one response")
    return RecordedTrace(name=path.name, seed=seed, trajectories=trajectories, prompts=tuple(prompts.values()))


def open_trace(name: str, *, seed: int, num_prompts: int, trajectories: int = 8) -> Trace:
    """mild, mid or heavy, or else the file of a recorded trace."""
    if name in TOTAL_SIGMA:
        return named_trace(name, seed=seed, num_prompts=num_prompts, trajectories=trajectories)
    if Path(name).suffix:
        return read_trace(Path(name), seed=seed, trajectories=trajectories)
    raise WrongUse(f"unknown trace {name!r} (known: {', '.join(TOTAL_SIGMA)}); name one of them or a file")


def _gather(row: RecordedRow, prompts: dict[str, _RecordedPrompt], where: str) -> None:
    known = prompts.setdefault(row.prompt, _RecordedPrompt(row.task, row.prompt_tokens))
    for name in ("task", "prompt_tokens"):
        if getattr(row, name) != getattr(known, name):
            raise WrongUse(
                f"{where}: field {name!r} is {getattr(row, name)!r}, but {getattr(known, name)!r} in an earlier row of "
                "the same prompt; correct one of them"
            )
    known.tokens.append(row.tokens)


def _jsonl_rows(path: Path) -> Iterator[object]:
    with path.open(encoding="utf-8") as stream_of_lines:
        # Blank lines hold no row, as elsewhere in this project.
        for number, line in enumerate(filter(str.strip, stream_of_lines), start=1):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise WrongUse(
                    f"{path} row {number} is not JSON ({first_line(error)}); write one object a line"
                ) from None


def _parquet_rows(path: Path) -> Iterator[object]:
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            yield from batch.to_pylist()


def _csv_rows(path: Path) -> Iterator[object]:
    with path.open(encoding="utf-8", newline="") as stream_of_lines:
        yield from csv.DictReader(stream_of_lines, restkey="(a cell without a column)")
