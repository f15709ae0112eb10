"""Recorded traces: what is read out of a file, and how a bad one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from pangu_verl.errors import WrongUse
from pangu_verl.simulate.recorded import RecordedTrace, open_trace, read_trace

ROWS = [
    {"prompt": "a", "tokens": 10, "task": "math", "prompt_tokens": 5},
    {"prompt": "b", "tokens": 100, "task": "code", "prompt_tokens": 7},
    {"prompt": "a", "tokens": 20, "task": "math", "prompt_tokens": 5},
]


def written(folder: Path, ending: str, rows: list[dict[str, object]]) -> Path:
    path = folder / f"trace.{ending}"
    if ending == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif ending == "csv":
        header = list(rows[0])
        lines = [",".join(header), *(",".join(str(row[column]) for column in header) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(folder: Path, *rows: dict[str, object]) -> RecordedTrace:
    return read_trace(written(folder, "jsonl", list(rows)), seed=0)


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "csv"])
def test_every_format_reads_the_same(tmp_path: Path, ending: str) -> None:
    trace = read_trace(written(tmp_path, ending, list(ROWS)), seed=0, trajectories=2)
    assert [trace.prompt(index).task for index in range(4)] == ["math", "code", "math", "code"]
    assert [trace.prompt_tokens(index) for index in range(2)] == [5, 7]
    assert sorted(trace.responses(0, 0).tokens) == [10, 20]
    assert trace.mean_tokens == (15 + 100) / 2
    assert trace.task_means() == {"math": 15, "code": 100}


def test_a_group_larger_than_what_was_recorded_is_drawn_with_replacement(tmp_path: Path) -> None:
    tokens = read(tmp_path, *ROWS).responses(0, 0).tokens
    assert len(tokens) == 8
    assert set(tokens) <= {10, 20}


def test_draws_depend_on_prompt_and_attempt_alone(tmp_path: Path) -> None:
    rows = [{"prompt": 1, "tokens": tokens} for tokens in range(1, 1_000)]
    trace = read(tmp_path, *rows)
    assert trace.responses(0, 0) == trace.responses(0, 0)
    assert trace.responses(0, 0) != trace.responses(0, 1)
    assert trace.responses(0, 0) != trace.responses(1, 0)


def test_keys_of_prompts_stay_unique_when_the_file_is_used_again(tmp_path: Path) -> None:
    trace = read(tmp_path, *ROWS)
    assert len({trace.prompt(index).key for index in range(10)}) == 10


def test_null_and_empty_cells_are_absent(tmp_path: Path) -> None:
    trace = read(tmp_path, {"prompt": "a", "tokens": 1, "task": None, "prompt_tokens": ""})
    assert (trace.prompt(0).task, trace.prompt_tokens(0)) == ("any", 0)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a"}, "row 2: lacks the field 'tokens'"),
        ({"tokens": 3}, "row 2: lacks the field 'prompt'"),
        ({"prompt": "a", "tokens": 0}, "row 2: field 'tokens': .*got 0"),
        ({"prompt": "a", "tokens": "many"}, "row 2: field 'tokens': .*got 'many'"),
        ({"prompt": "a", "tokens": 1.5}, "row 2: field 'tokens'"),
        ({"prompt": "a", "tokens": True}, "row 2: field 'tokens'"),
        ({"prompt": ["a"], "tokens": 1}, "row 2: field 'prompt'"),
        ({"prompt": "a", "tokens": 1, "prompt_tokens": -1}, "row 2: field 'prompt_tokens'"),
        ({"prompt": "a", "tokens": 1, "tokns": 1}, "row 2: unknown field 'tokns' .known: prompt, tokens"),
        ({"prompt": "z", "tokens": 1, "task": "math"}, "row 2: field 'task' is 'math', but 'any' in an earlier row"),
        ({"prompt": "a", "tokens": "9" * 10_000}, "row 2: field 'tokens'"),
    ],
)
def test_a_bad_row_is_refused_by_row_and_field(tmp_path: Path, row: dict[str, object], said: str) -> None:
    with pytest.raises(WrongUse, match=said) as refused:
        read(tmp_path, {"prompt": "z", "tokens": 3}, row)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("line", ["{", "[1]", "3", '{"prompt": "a", "tokens": NaN}', "[" * 100_000])
def test_a_line_that_is_no_object_is_refused_by_row(tmp_path: Path, line: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(f'{{"prompt": "a", "tokens": 1}}\n\n{line}\n')
    with pytest.raises(WrongUse, match="row 2"):
        read_trace(path, seed=0)


def test_a_csv_row_with_too_many_cells_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("prompt,tokens\na,1\nb,2,3\n")
    with pytest.raises(WrongUse, match=r"row 2: unknown field '\(a cell without a column\)'"):
        read_trace(path, seed=0)


@pytest.mark.parametrize(
    ("name", "content"), [("t.jsonl", b"\xff\xfe"), ("t.csv", b"prompt,tokens\n\xff,1"), ("t.parquet", b"x")]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WrongUse, match=f"{name}.*cannot be read"):
        read_trace(tmp_path / name, seed=0)


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(WrongUse, match="holds no rows"):
        read_trace(tmp_path / name, seed=0)


def test_a_missing_file_and_an_unknown_ending_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="there is no file"):
        read_trace(tmp_path / "t.jsonl", seed=0)
    with pytest.raises(WrongUse, match=r"expected a file ending in .jsonl, .parquet, .csv"):
        read_trace(tmp_path / "t.json", seed=0)


def test_a_trace_is_opened_by_name_or_file(tmp_path: Path) -> None:
    assert open_trace("mid", seed=0, num_prompts=4).name == "mid"
    path = written(tmp_path, "csv", list(ROWS))
    assert open_trace(str(path), seed=0, num_prompts=4).name == "trace.csv"
    with pytest.raises(WrongUse, match=r"unknown trace 'midd' \(known: mild, mid, heavy\)"):
        open_trace("midd", seed=0, num_prompts=4)


def test_a_seed_or_a_group_that_cannot_be_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "csv", list(ROWS))
    for seed, trajectories in ((-1, 8), (0, 0)):
        with pytest.raises(WrongUse, match="seed is 0 or more and trajectories at least 1"):
            read_trace(path, seed=seed, trajectories=trajectories)
