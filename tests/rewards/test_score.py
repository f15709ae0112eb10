"""``rewards score``: one line a row, the documented keys, resuming, and figures; all through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reward_rows import call, read_lines, result_of, row, timeless, write_lines

WRONG = row(id="b", response=r"It is \boxed{8}.")
UNREADABLE = row(id="c", ground_truth=None)
KEYS = {"id", "domain", "source", "score", "passed", "reason", "breakdown", "seconds"}


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "mars")


@pytest.fixture
def score(tmp_path: Path) -> Callable[..., Any]:
    """Write rows, judge them, and give the answer; verdicts are in ``verdicts.jsonl``."""

    def run(rows: list[dict[str, Any]], *options: str) -> Any:
        path = write_lines(tmp_path / "rows.jsonl", rows)
        return call("score", "--input", path, "--output", tmp_path / "verdicts.jsonl", *options)

    return run


def verdicts(folder: Path) -> list[dict[str, Any]]:
    return read_lines(folder / "verdicts.jsonl")


# --- one line a row --------------------------------------------------------------------------------------------------


def test_every_row_gets_a_line_in_its_order(score: Callable[..., Any], tmp_path: Path) -> None:
    answer = score([row(), WRONG, UNREADABLE])
    assert answer.exit_code == 0, answer.stderr
    lines = verdicts(tmp_path)
    assert all(set(line) == KEYS for line in lines)
    assert [(line["id"], line["score"], line["passed"]) for line in lines] == [
        ("a", 1.0, True),
        ("b", 0.0, False),
        ("c", None, None),
    ]
    assert lines[2]["reason"] == "the row has no ground truth"
    assert lines[0]["breakdown"]["maths"]["details"]["extracted"] == "7"


def test_order_holds_where_a_cheap_row_follows_a_dear_one(score: Callable[..., Any], tmp_path: Path) -> None:
    dear = row(response=r"\boxed{\frac{\sqrt{12}}{4}}", ground_truth=r"\frac{\sqrt{3}}{2}")
    rows = [{**(dear if number % 2 else row()), "id": number} for number in range(20)]
    assert score(rows).exit_code == 0
    assert [line["id"] for line in verdicts(tmp_path)] == list(range(20))
    assert all(line["passed"] for line in verdicts(tmp_path))


def test_the_answer_is_what_follows_the_reasoning(score: Callable[..., Any], tmp_path: Path) -> None:
    score([row(response=r"<think>\boxed{7}</think> It is \boxed{8}."), row(response=r"<think>\boxed{7}")])
    assert [line["passed"] for line in verdicts(tmp_path)] == [False, False]


def test_the_format_gate_touches_the_score_alone_and_needs_a_mode(score: Callable[..., Any], tmp_path: Path) -> None:
    score([row(), row(mode="slow"), row(mode="fast")])
    lines = verdicts(tmp_path)
    assert [(line["score"], line["passed"]) for line in lines] == [(1.0, True), (0.0, True), (1.0, True)]
    assert "format_gate" not in lines[0]["breakdown"]
    assert lines[1]["breakdown"]["format_gate"]["fault"] == "a slow answer holds no reasoning"


def test_auxiliary_terms_are_told_apart_from_correctness(score: Callable[..., Any], tmp_path: Path) -> None:
    score([row(response="again and again " * 100 + r"\boxed{7}")])
    (line,) = verdicts(tmp_path)
    assert line["passed"] is True
    assert line["breakdown"]["maths"]["score"] == 1.0
    assert line["score"] == pytest.approx(1.0 + line["breakdown"]["auxiliary"]["repetition"])
    assert line["score"] < 1.0


def test_a_domain_that_nobody_judges_is_a_verdict(score: Callable[..., Any], tmp_path: Path) -> None:
    answer = score([row(domain="instruction", checks=[{"id": "punctuation:no_comma"}])])
    assert answer.exit_code == 0
    assert verdicts(tmp_path)[0]["score"] is None
    assert "no reward source for domain 'instruction'" in verdicts(tmp_path)[0]["reason"]


HOSTILE = {
    "a lone surrogate": row(response="\ud800 \\boxed{7}\udfff"),
    "NUL": row(response="\x00\\boxed{7}\x00", ground_truth="7\x00"),
    "a megabyte of LaTeX": row(response=r"\boxed{" + r"\frac{1}{" * 100_000 + "}" * 100_000 + "}"),
    "a megabyte of boxes": row(response=r"\boxed{7}" * 100_000),
    "a tower": row(response=r"\boxed{9^{9^{9^9}}}", ground_truth="(10^7)!"),
    "a long number": row(response=r"\boxed{" + "9" * 100_000 + "}", ground_truth="9" * 100_000),
    "nothing": row(response=""),
    "escapes": row(response="\x1b[2J\u202e\\boxed{7}", id="\x1b[31m"),
    "misspelt tests": row(domain="code", tests=[{"kind": "asert", "code": "x"}, "assert f()"]),
    "empty tests": row(domain="code", tests=[]),
    "deep": row(domain="code", tests=json.loads("[" * 200 + "]" * 200)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_a_row_holds_it_and_its_neighbours_get_a_verdict(
    score: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    answer = score([row(id="before"), HOSTILE[name], row(id="after")])
    assert answer.exit_code == 0, answer.stderr
    lines = verdicts(tmp_path)
    assert [line["id"] for line in lines] == ["before", HOSTILE[name]["id"], "after"]
    assert lines[0]["passed"] and lines[2]["passed"]
    assert lines[1]["reason"]
    assert answer.stdout.replace("\n", "").isprintable()


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_a_mistake_in_the_last_row_stops_before_the_first_is_judged(score: Callable[..., Any], tmp_path: Path) -> None:
    answer = score([row(), row(grund_truth="7")])
    assert answer.exit_code == 2
    assert answer.stderr == (
        f"pangu-verl: {tmp_path}/rows.jsonl line 2: unknown key 'grund_truth' (did you mean 'ground_truth'?); "
        "correct or remove it\n"
    )
    assert not (tmp_path / "verdicts.jsonl").exists()


def test_the_input_is_never_written_over(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [row()])
    before = path.read_bytes()
    (tmp_path / "same.jsonl").symlink_to(path)
    for name in ("rows.jsonl", "same.jsonl"):
        answer = call("score", "--input", path, "--output", tmp_path / name, "--overwrite")
        assert answer.exit_code == 2
        assert "is the file that is read" in answer.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--domain", "math"],
        ["--response", "7"],
        ["--input", "rows.jsonl"],
        ["--input", "rows.jsonl", "--output", "v.jsonl", "--domain", "math"],
        ["--domain", "math", "--response", "7", "--output", "v.jsonl"],
        ["--domain", "math", "--response", "7", "--resume"],
        ["--domain", "math", "--response", "7", "--mode", "quick"],
        ["--domain", "math", "--response", "7", "--sources", "nobody"],
        ["--input", "missing.jsonl", "--output", "v.jsonl"],
        ["--no-such-option"],
    ],
)
def test_wrong_use_leaves_with_two_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "rows.jsonl", [row()])
    answer = call("score", *options)
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


# --- going on --------------------------------------------------------------------------------------------------------


def test_an_output_that_is_there_asks_what_to_do(score: Callable[..., Any], tmp_path: Path) -> None:
    score([row()])
    answer = score([row(), WRONG])
    assert answer.exit_code == 2
    assert "--resume" in answer.stderr and "--overwrite" in answer.stderr
    assert len(verdicts(tmp_path)) == 1


@pytest.mark.parametrize("cut", [0, 1, 40, -1])
def test_resuming_keeps_whole_lines_and_ends_as_if_never_cut(
    score: Callable[..., Any], tmp_path: Path, cut: int
) -> None:
    rows = [row(), WRONG, UNREADABLE]
    score(rows)
    whole = (tmp_path / "verdicts.jsonl").read_bytes()
    first = whole.index(b"\n") + 1
    (tmp_path / "verdicts.jsonl").write_bytes(whole[: first + cut] if cut >= 0 else whole[:cut])
    answer = score(rows, "--resume", "--json")
    assert answer.exit_code == 0, answer.stderr
    assert (tmp_path / "verdicts.jsonl").read_bytes()[:first] == whole[:first]
    assert timeless(verdicts(tmp_path)) == timeless(json.loads(line) for line in whole.splitlines())
    assert result_of(answer)["rows"] == 3


def test_resuming_what_is_complete_changes_nothing(score: Callable[..., Any], tmp_path: Path) -> None:
    score([row(), WRONG])
    whole = (tmp_path / "verdicts.jsonl").read_bytes()
    answer = score([row(), WRONG], "--resume", "--json")
    assert answer.exit_code == 0
    assert (tmp_path / "verdicts.jsonl").read_bytes() == whole
    assert result_of(answer)["passed"] == 1


@pytest.mark.parametrize("rows", [[row(id="other"), WRONG], [row(domain="general"), WRONG], [row()]])
def test_verdicts_of_other_rows_are_not_gone_on_with(
    score: Callable[..., Any], tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    score([row(), WRONG])
    whole = (tmp_path / "verdicts.jsonl").read_bytes()
    answer = score(rows, "--resume")
    assert answer.exit_code == 2
    assert answer.stderr.startswith("pangu-verl: --resume: ") and "--overwrite" in answer.stderr
    assert (tmp_path / "verdicts.jsonl").read_bytes() == whole


def test_overwriting_judges_anew(score: Callable[..., Any], tmp_path: Path) -> None:
    score([row(), WRONG])
    assert score([WRONG], "--overwrite").exit_code == 0
    assert [line["id"] for line in verdicts(tmp_path)] == ["b"]


# --- figures ---------------------------------------------------------------------------------------------------------


def test_the_summary_counts_by_source_and_domain(score: Callable[..., Any], tmp_path: Path) -> None:
    choice = row(id="d", domain="choice", response="B", ground_truth="B")
    found = result_of(score([row(), WRONG, UNREADABLE, choice], "--json"))
    assert found == {
        "rows": 4,
        "judged": 3,
        "unjudged": 1,
        "passed": 2,
        "mean_score": pytest.approx(2 / 3),
        "by_source_and_domain": [
            {
                "source": "choice",
                "domain": "choice",
                "rows": 1,
                "judged": 1,
                "unjudged": 0,
                "passed": 1,
                "mean_score": 1.0,
            },
            {
                "source": "maths",
                "domain": "math",
                "rows": 3,
                "judged": 2,
                "unjudged": 1,
                "passed": 1,
                "mean_score": 0.5,
            },
        ],
        "output": str(tmp_path / "verdicts.jsonl"),
    }


def test_the_summary_is_a_table_for_people(score: Callable[..., Any]) -> None:
    lines = [line.split() for line in score([row(), WRONG]).stdout.splitlines()]
    assert ["maths", "math", "2", "2", "0", "1", "0.500"] in lines


def test_no_rows_are_no_mistake(score: Callable[..., Any], tmp_path: Path) -> None:
    answer = score([], "--json")
    assert answer.exit_code == 0
    assert (result_of(answer)["rows"], result_of(answer)["mean_score"]) == (0, None)
    assert (tmp_path / "verdicts.jsonl").read_bytes() == b""


# --- one row ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_one_row_prints_its_verdict(as_json: list[str]) -> None:
    answer = call("score", "--domain", "math", "--response", "-7", "--ground-truth", "-7", *as_json)
    assert answer.exit_code == 0
    line = result_of(answer)
    assert set(line) == KEYS
    assert (line["score"], line["passed"]) == (1.0, True)


def test_one_row_takes_a_question_and_a_mode() -> None:
    question = "Which?\nA) red\nB) blue"
    options = ["--domain", "choice", "--response", "blue", "--ground-truth", "B", "--question", question]
    line = result_of(call("score", *options, "--mode", "slow"))
    assert (line["score"], line["passed"]) == (0.0, True)


def test_one_row_that_cannot_be_judged_leaves_with_zero() -> None:
    answer = call("score", "--domain", "math", "--response", "7")
    assert answer.exit_code == 0
    assert result_of(answer)["score"] is None
