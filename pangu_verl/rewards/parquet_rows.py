"""Reward rows out of verl's own parquet columns, as training sees them, one batch at a time.

``ability`` is the domain, ``reward_model.ground_truth`` the gold answer; ``extra_info`` may hold ``tests`` and
``checks`` (lists, or the same as JSON text), ``mode`` and ``index``, which becomes the row's id. Invariant: what is
wrong is a ``WrongUse`` that names file, row (from 0) and column.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from pangu_verl.errors import WrongUse, first_line
from pangu_verl.rewards.files import check_is_file
from pangu_verl.rewards.rows import GoldRow, parse_row

COLUMNS = ("prompt", "data_source", "ability", "reward_model")
_OPTIONAL = "extra_info"
_BATCH_ROWS = 64


def read_parquet_rows(path: Path, domains: Collection[str]) -> Iterator[GoldRow]:
    """The rows of a parquet file in order, without their responses."""
    check_is_file(path)
    try:
        with parquet.ParquetFile(path) as file:
            columns = _columns(path, file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                for record in batch.to_pylist():
                    yield _row(record, number, domains, f"{path} row {number}")
                    number += 1
    except WrongUse:
        raise
    except Exception as error:
        raise WrongUse(f"{path} cannot be read as parquet ({first_line(error)}); write it anew") from error


def _columns(path: Path, names: Collection[str]) -> list[str]:
    for column in COLUMNS:
        if column not in names:
            raise WrongUse(f"{path} lacks the column {column!r} (it has {', '.join(names)}); add it")
    return [*COLUMNS, *([_OPTIONAL] if _OPTIONAL in names else [])]


def _row(record: Mapping[str, Any], number: int, domains: Collection[str], where: str) -> GoldRow:
    extra = dict(_mapping(record.get(_OPTIONAL) or {}, _OPTIONAL, where))
    gold = _mapping(record["reward_model"], "reward_model", where).get("ground_truth")
    identifier = extra.get("index")
    found = {
        "id": str(number if identifier is None else identifier),
        "domain": record["ability"],
        "question": _question(record["prompt"], where),
        "ground_truth": None if gold is None else str(gold),
        "tests": _listed(extra.pop("tests", None), "tests", where),
        "checks": _listed(extra.pop("checks", None), "checks", where),
        "mode": extra.get("mode"),
        "extra": {**extra, "data_source": str(record["data_source"])},
    }
    return parse_row(found, GoldRow, domains, f"{where} (domain: ability; id, tests, checks, mode: extra_info)")


def _question(prompt: object, where: str) -> str:
    """The last message."""
    if not isinstance(prompt, list) or not prompt or not isinstance(prompt[-1], Mapping) or "content" not in prompt[-1]:
        raise WrongUse(f"{where}: prompt: expected a list of messages with role and content; correct it")
    return str(prompt[-1]["content"])


def _mapping(value: object, column: str, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise WrongUse(f"{where}: {column}: expected an object, got {type(value).__name__}; correct it")
    return value


def _listed(value: object, key: str, where: str) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise WrongUse(f"{where}: extra_info.{key} is not JSON ({first_line(error)}); correct it") from None
