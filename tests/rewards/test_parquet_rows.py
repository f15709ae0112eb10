"""Rows out of verl's parquet columns: the same that training makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.reward_rows import row_of
from pangu_verl.rewards.parquet_rows import read_parquet_rows
from pangu_verl.rewards.rows import DOMAINS, GoldRow

TEST = {"kind": "stdin", "input": "1", "output": "2"}


def columns(**fields: Any) -> dict[str, Any]:
    return {
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1 + 3?"}],
        "data_source": "sums",
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "4"},
        "extra_info": {"index": 7, "split": "train"},
        **fields,
    }


def write(path: Path, *records: dict[str, Any]) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(list(records)), path)
    return path


def read(path: Path) -> list[GoldRow]:
    return list(read_parquet_rows(path, DOMAINS))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"extra_info": {"index": 0, "mode": "slow", "tests": [TEST]}},
        {"extra_info": {"index": 0, "tests": json.dumps([TEST]), "checks": json.dumps([{"id": "x"}])}},
        {"extra_info": {"index": "a-1", "cpu_seconds": 3.0, "mode": None}},
        {"reward_model": {"style": "rule", "ground_truth": None}},
        {"reward_model": {"style": "rule", "ground_truth": 4}},
        {"ability": "choice", "reward_model": {"ground_truth": ["a", "b"]}},
    ],
)
def test_a_row_is_the_same_as_in_training(tmp_path: Path, fields: dict[str, Any]) -> None:
    given = columns(**fields)
    (found,) = read(write(tmp_path / "rows.parquet", given))
    judged = found.with_response("It is 4.")
    trained = row_of("It is 4.", {**given, "raw_prompt": given["prompt"]}, response_tokens=0, max_response_tokens=None)
    for name in ("id", "domain", "question", "response", "answer", "ground_truth", "mode"):
        assert getattr(judged, name) == getattr(trained, name), name
    assert list(judged.tests) == list(trained.tests)
    assert list(judged.checks) == list(trained.checks)
    assert {**judged.extra, "response_tokens": 0, "max_response_tokens": None} == dict(trained.extra)


def test_a_row_without_an_index_has_its_number(tmp_path: Path) -> None:
    records = [{key: value for key, value in columns().items() if key != "extra_info"}] * 2
    assert [row.id for row in read(write(tmp_path / "rows.parquet", *records))] == ["0", "1"]


def test_more_rows_than_a_batch_keep_their_order(tmp_path: Path) -> None:
    records = [columns(extra_info={"index": number}) for number in range(200)]
    assert [row.id for row in read(write(tmp_path / "rows.parquet", *records))] == [
        str(number) for number in range(200)
    ]


@pytest.mark.parametrize("column", ["prompt", "data_source", "ability", "reward_model"])
def test_a_column_that_is_missing_is_named(tmp_path: Path, column: str) -> None:
    path = write(tmp_path / "rows.parquet", {key: value for key, value in columns().items() if key != column})
    with pytest.raises(WrongUse, match=rf"rows\.parquet lacks the column '{column}' \(it has "):
        read(path)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ability": "maht"}, "unknown domain 'maht'"),
        ({"ability": None}, "lacks the key 'domain'"),
        ({"prompt": []}, "prompt: expected a list of messages"),
        ({"prompt": "What?"}, "prompt: expected a list of messages"),
        ({"reward_model": "4"}, "reward_model: expected an object, got str"),
        ({"extra_info": {"tests": "[1"}}, r"extra_info\.tests is not JSON"),
        ({"extra_info": {"tests": "1"}}, "key 'tests': expected a list, got int"),
        ({"extra_info": {"mode": "quick"}}, "key 'mode': expected one of fast, slow, auto"),
    ],
)
def test_a_mistake_is_named_with_file_and_row(tmp_path: Path, fields: dict[str, Any], expected: str) -> None:
    path = write(tmp_path / "rows.parquet", columns(**fields))
    with pytest.raises(WrongUse, match=rf"rows\.parquet row 0.*{expected}"):
        read(path)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(WrongUse, match=r"rows\.parquet cannot be read as parquet"):
        read(path)
    with pytest.raises(WrongUse, match="there is no file"):
        read(tmp_path / "missing.parquet")
