"""``rewards validate``: which golds are rejected or cannot be judged, in what files, and with what rates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest
from made_plugins import make_plugin as make_plugin
from reward_rows import Source, call, judges_of, read_lines, result_of, write_lines
from scipy.stats import binomtest

from pangu_verl.mars.settings import read_measurements
from pangu_verl.rewards.rates import Finding
from pangu_verl.rewards.rows import GoldRow
from pangu_verl.rewards.validate import SHOWN_PROBLEMS, examined

GOOD = {"id": "good", "domain": "math", "ground_truth": r"\frac{1}{2}"}
BLANK = {"id": "blank", "domain": "math"}
#: Reasoning that is never closed leaves no answer, whatever the source.
OPENED = {"id": "opened", "domain": "math", "ground_truth": "<think> 5"}
TEST = {"kind": "assert", "code": "assert f() == 1"}


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "mars")


def validate(folder: Path, *rows: dict[str, Any], options: tuple[str, ...] = ()) -> Any:
    path = write_lines(folder / "rows.jsonl", rows)
    return call("validate", path, *options)


# --- one row ---------------------------------------------------------------------------------------------------------


async def finding(*sources: Source, **fields: Any) -> Finding:
    return await examined(judges_of(*sources), GoldRow(id="1", **fields))


async def test_a_gold_goes_through_its_source_without_gate_and_terms() -> None:
    source = Source(lambda answer: answer == r"\boxed{7}")
    found = await finding(source, domain="math", ground_truth="7", mode="slow")
    assert (found.result, found.source, found.is_problem) == ("accepted", "made", False)


@pytest.mark.parametrize(("says", "result"), [(False, "rejected"), (None, "unjudged")])
async def test_a_gold_that_is_not_accepted_is_a_problem(says: bool | None, result: str) -> None:
    found = await finding(Source(lambda _: says), domain="math", ground_truth="7")
    assert (found.result, found.is_problem) == (result, True)
    assert found.reason


async def test_a_domain_that_nobody_judges_is_a_problem() -> None:
    found = await finding(domain="general", ground_truth=None)
    assert (found.result, found.source) == ("unjudged", "none")


async def test_a_reference_program_is_run_in_a_fence() -> None:
    source = Source(lambda _: True, domains=["code"])
    found = await finding(source, domain="code", ground_truth="def f(): return 1", tests=[TEST])
    assert found.result == "accepted"
    assert source.asked[0].answer == "```python\ndef f(): return 1\n```"


@pytest.mark.parametrize(
    ("tests", "result", "reason"),
    [([TEST], "no gold", "tests are understood; no reference program"), ([{"kind": "asert"}], "unjudged", "tests[0]")],
)
async def test_a_code_row_without_a_program_is_parsed_and_never_run(tests: list[Any], result: str, reason: str) -> None:
    source = Source(lambda _: True, domains=["code"])
    found = await finding(source, domain="code", tests=tests)
    assert found.result == result
    assert found.reason.startswith(reason)
    assert source.asked == []


@pytest.mark.parametrize(("says", "result"), [(True, "no gold"), (False, "no gold"), (None, "unjudged")])
async def test_of_an_instruction_only_that_its_checks_are_understood_counts(says: bool | None, result: str) -> None:
    found = await finding(Source(lambda _: says, domains=["instruction"]), domain="instruction", checks=[{"id": "x"}])
    assert found.result == result


async def test_an_open_ended_row_has_no_gold() -> None:
    source = Source(lambda _: None, domains=["general"])
    assert (await finding(source, domain="general")).result == "no gold"
    assert source.asked == []


# --- the command -----------------------------------------------------------------------------------------------------


def test_golds_that_are_all_accepted_leave_with_zero(tmp_path: Path) -> None:
    rows = [
        GOOD,
        {"id": 2, "domain": "choice", "ground_truth": "blue", "question": "Which?\nA) red\nB) blue", "response": "A"},
        {"id": 3, "domain": "general", "ground_truth": '["Paris", "the City of Light"]'},
    ]
    answer = validate(tmp_path, *rows, options=("--json",))
    assert answer.exit_code == 0, answer.stdout + answer.stderr
    found = result_of(answer)
    assert (found["rows"], found["accepted"], found["rejected"], found["unjudged"]) == (3, 3, 0, 0)
    assert found["problems"] == []


def test_a_gold_that_is_rejected_or_unjudged_leaves_with_one_and_is_named(tmp_path: Path) -> None:
    answer = validate(tmp_path, GOOD, OPENED, BLANK)
    assert answer.exit_code == 1
    lines = answer.stdout.splitlines()
    assert any(line.startswith("row opened (math, maths): rejected: ") for line in lines)
    assert "row blank (math, maths): unjudged: the row has no ground truth" in lines
    assert answer.stderr == ""


def test_the_table_counts_and_gives_an_interval(tmp_path: Path) -> None:
    rows = [{**GOOD, "id": number} for number in range(9)]
    answer = validate(tmp_path, *rows, OPENED, BLANK)
    low, high = binomtest(1, 10).proportion_ci(confidence_level=0.95)
    (line,) = [line.split() for line in answer.stdout.splitlines() if line.startswith("maths ")]
    assert line[:7] == ["maths", "math", "11", "9", "1", "1", "0"]
    assert " ".join(line[7:]) == f"10.0% ({100 * low:.1f}% to {100 * high:.1f}%)"


def test_the_summary_holds_the_same(tmp_path: Path) -> None:
    found = result_of(validate(tmp_path, GOOD, OPENED, BLANK, options=("--json",)))
    low, high = binomtest(1, 2).proportion_ci(confidence_level=0.95)
    assert found["by_source_and_domain"] == [
        {
            "source": "maths",
            "domain": "math",
            "rows": 3,
            "accepted": 1,
            "rejected": 1,
            "unjudged": 1,
            "no_gold": 0,
            "false_reject_rate": 0.5,
            "interval": [pytest.approx(low), pytest.approx(high)],
        }
    ]
    assert [problem["id"] for problem in found["problems"]] == ["opened", "blank"]


def test_many_problems_are_cut_on_the_screen_and_whole_in_the_file(tmp_path: Path) -> None:
    rows = [{**BLANK, "id": number} for number in range(SHOWN_PROBLEMS + 5)]
    answer = validate(tmp_path, *rows, options=("--output", str(tmp_path / "details.jsonl")))
    assert answer.stdout.count("the row has no ground truth") == SHOWN_PROBLEMS
    assert answer.stdout.endswith("and 5 more; --output FILE writes all\n")
    assert [line["id"] for line in read_lines(tmp_path / "details.jsonl")] == list(range(SHOWN_PROBLEMS + 5))


def test_the_details_hold_every_row_in_its_order(tmp_path: Path) -> None:
    validate(tmp_path, GOOD, OPENED, BLANK, options=("--output", str(tmp_path / "details.jsonl")))
    lines = read_lines(tmp_path / "details.jsonl")
    assert [(line["id"], line["result"]) for line in lines] == [
        ("good", "accepted"),
        ("opened", "rejected"),
        ("blank", "unjudged"),
    ]
    assert all(set(line) == {"id", "domain", "source", "result", "reason", "seconds"} for line in lines)


def test_the_measurements_are_what_a_run_starts_from(tmp_path: Path) -> None:
    validate(tmp_path, GOOD, OPENED, BLANK, options=("--measurements", str(tmp_path / "rates.json")))
    found = json.loads((tmp_path / "rates.json").read_text())
    low, high = binomtest(1, 2).proportion_ci(confidence_level=0.95)
    expected = {"source": "maths", "domain": "math", "claim": "reject", "origin": "gold", "audited": 2, "wrong": 1}
    assert found == {"rates": [{**expected, "low": pytest.approx(low), "high": pytest.approx(high)}]}
    assert [(rate.source, rate.origin) for rate in read_measurements(tmp_path / "rates.json")] == [("maths", "gold")]


def test_where_nothing_was_judged_there_is_no_rate(tmp_path: Path) -> None:
    options = ("--json", "--measurements", str(tmp_path / "rates.json"))
    (found,) = result_of(validate(tmp_path, BLANK, options=options))["by_source_and_domain"]
    assert (found["false_reject_rate"], found["interval"]) == (None, None)
    assert json.loads((tmp_path / "rates.json").read_text()) == {"rates": []}


def test_verls_parquet_is_validated_like_lines(tmp_path: Path) -> None:
    record = {
        "prompt": [{"role": "user", "content": "What is 1 + 3?"}],
        "data_source": "sums",
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "4"},
        "extra_info": {"index": 0},
    }
    opened = {**record, "reward_model": {"style": "rule", "ground_truth": "<think> 4"}, "extra_info": {"index": 1}}
    parquet.write_table(pyarrow.Table.from_pylist([record, opened]), tmp_path / "rows.parquet")
    found = result_of(call("validate", tmp_path / "rows.parquet", "--json"))
    assert (found["accepted"], found["rejected"]) == (1, 1)
    assert found["problems"][0]["id"] == "1"


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_files_that_are_there_need_overwrite(tmp_path: Path) -> None:
    for option in ("--output", "--measurements"):
        (tmp_path / "there").write_text("mine")
        assert validate(tmp_path, GOOD, options=(option, str(tmp_path / "there"))).exit_code == 2
        assert (tmp_path / "there").read_text() == "mine"
        assert validate(tmp_path, GOOD, options=(option, str(tmp_path / "there"), "--overwrite")).exit_code == 0
        assert (tmp_path / "there").read_text() != "mine"


@pytest.mark.parametrize("option", ["--output", "--measurements"])
def test_the_data_is_never_written_over(tmp_path: Path, option: str) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [GOOD])
    before = path.read_bytes()
    assert call("validate", path, option, path, "--overwrite").exit_code == 2
    assert path.read_bytes() == before


def test_one_file_for_two_things_is_wrong_use(tmp_path: Path) -> None:
    options = ("--output", str(tmp_path / "x"), "--measurements", str(tmp_path / "x"))
    assert validate(tmp_path, GOOD, options=options).exit_code == 2


def test_a_mistake_in_the_data_leaves_no_file_behind(tmp_path: Path) -> None:
    answer = validate(tmp_path, GOOD, {**GOOD, "gold": 1}, options=("--output", str(tmp_path / "details.jsonl")))
    assert answer.exit_code == 2
    assert "rows.jsonl line 2: unknown key 'gold'" in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_data_without_rows_is_wrong_use(tmp_path: Path) -> None:
    answer = validate(tmp_path)
    assert answer.exit_code == 2
    assert "has no rows" in answer.stderr
