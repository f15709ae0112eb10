"""The rewards benchmark as a command: what it writes for a few made-up rows, and what it says of wrong use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "systems" / "rewards.py"
SOLUTIONS = [
    {"id": "a", "question": "2 + 2?", "gold": "4", "prediction": "2 + 2 = <<2+2=4>>4\nA: 4", "expected": True},
    {"id": "b", "question": "2 + 3?", "gold": "5", "prediction": "2 + 3 = 6\nA: 6", "expected": False},
]
BARE = [
    {"id": "c", "question": "Which x?", "gold": "$x=1$", "prediction": "x = 1", "expected": True},
    {"id": "d", "question": "Which x?", "gold": "$x=1$", "prediction": "x = 2", "expected": False},
    {"id": "e", "question": "Which x?", "gold": "$x=1$", "prediction": "x = 2", "expected": True, "contested": True},
]
TEXTS = [{"id": "f", "prediction": "<answer>A cat.</answer>", "gold": "cat", "verifier": "PuzzleMatcher", "score": 1.0}]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "verify").mkdir()
    files = {
        "gsm8k_model_solutions": SOLUTIONS,
        "hardverify_math_dev": BARE,
        "math_verify_tests": SOLUTIONS,
        "open_instruct_text": TEXTS,
    }
    for name, rows in files.items():
        (folder / "verify" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def record(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of one run over made-up rows; most of its time is the import of verl."""
    path = tmp_path_factory.mktemp("written") / "figures.json"
    ended = run(data, "--parts", "maths,general", "--repeats", 2, "--output", path)
    assert ended.returncode == 0, ended.stderr
    assert str(path) in ended.stdout.splitlines()[-1]
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def result(record: dict[str, Any], file: str, grader: str) -> dict[str, Any]:
    found = [each for each in record["parts"]["maths"]["results"] if (each["file"], each["grader"]) == (file, grader)]
    assert len(found) == 1
    single: dict[str, Any] = found[0]
    return single


def test_record_says_where_its_figures_come_from(record: dict[str, Any]) -> None:
    assert {"benchmark", "started_at", "commit", "has_local_changes", "seed", "repeats"} <= record.keys()
    assert {"python", "pangu-verl", "verl", "math-verify", "sympy"} <= record["versions"].keys()
    assert {"processor", "cores", "memory_gib", "kernel", "load_average"} <= record["machine"].keys()


@pytest.mark.parametrize(
    "grader", ["pangu_verl", "math-verify", "verl gsm8k", "verl math_dapo", "verl math_reward", "verl prime_math"]
)
def test_every_grader_is_given_a_solution_as_it_asks_for(record: dict[str, Any], grader: str) -> None:
    figures = result(record, "gsm8k_model_solutions.jsonl", grader)
    assert (figures["agreeing"], figures["recall"], figures["false_accepts"], figures["unjudged"]) == (2, 1.0, 0, 0)
    assert figures["verdicts_per_cpu_second"]["lowest"] > 0
    assert figures["longest_cpu_seconds"] >= 0


def test_contested_rows_are_counted_apart(record: dict[str, Any]) -> None:
    figures = result(record, "hardverify_math_dev.jsonl", "pangu_verl")
    assert (figures["rows"], figures["doubtful"], figures["agreement"], figures["recall"]) == (3, 1, 1.0, 1.0)


def test_others_are_compared_with_ours(record: dict[str, Any]) -> None:
    assert result(record, "math_verify_tests.jsonl", "pangu_verl")["our_speed_by_theirs"] is None
    assert result(record, "math_verify_tests.jsonl", "math-verify")["our_speed_by_theirs"] > 0


def test_labelled_texts_are_counted(record: dict[str, Any]) -> None:
    figures = record["parts"]["general"]
    assert (figures["cases"], figures["as_labelled"], figures["differing_ids"]) == (1, 1, [])


def test_bounds_of_the_measured_parts_alone_are_judged(record: dict[str, Any]) -> None:
    met = {each["name"]: each["met"] for each in record["targets"]}
    assert met["labels of GSM8K solutions not agreed with"] is True
    assert "isolated HumanEval programs a second" not in met


def test_missing_file_is_named_in_one_line(data: Path) -> None:
    ended = run(data, "--parts", "code")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"rewards.py: {data / 'code' / 'HumanEval.jsonl.gz'} is not there; "
        "name the folder that holds code/HumanEval.jsonl.gz, or leave its part out"
    ]


@pytest.mark.parametrize("arguments", [["--parts", "general"], ["--parts", "maths,colour"], ["--repeats", "0"]])
def test_wrong_use_is_one_line_and_exit_2(arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
