"""Reward rows from outside: what is taken, and how a mistake is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_rows import row, write_lines

from pangu_verl.errors import WrongUse
from pangu_verl.rewards import rows
from pangu_verl.rewards.rows import DOMAINS, GoldRow, ResponseRow, parse_row, read_rows

#: Also lone surrogates and NUL, which JSON can spell.
TEXTS = st.text(st.characters(), max_size=50)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


def parsed(**fields: Any) -> ResponseRow:
    return parse_row(row(**fields), ResponseRow, DOMAINS, "rows.jsonl line 3")


def complaint(**fields: Any) -> str:
    with pytest.raises(WrongUse) as raised:
        parsed(**fields)
    text = str(raised.value)
    assert text.startswith("rows.jsonl line 3: ")
    return text.removeprefix("rows.jsonl line 3: ")


def written(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines))
    return path


# --- what is taken ---------------------------------------------------------------------------------------------------


def test_a_row_keeps_every_key() -> None:
    tests, checks = [{"kind": "assert", "code": "assert f() == 1"}], [{"id": "punctuation:no_comma"}]
    found = parsed(
        question="q", tests=tests, checks=checks, mode="slow", extra={"cpu_seconds": 3}, response="<think>a</think> b"
    )
    judged = found.with_response(found.response)
    assert (judged.id, judged.domain, judged.question, judged.ground_truth) == ("a", "math", "q", "7")
    assert (judged.tests, judged.checks, judged.mode, judged.extra) == (tests, checks, "slow", {"cpu_seconds": 3})
    assert (judged.response, judged.answer) == ("<think>a</think> b", "b")


def test_null_means_absent() -> None:
    found = parsed(question=None, ground_truth=None, tests=None, checks=None, mode=None, extra=None)
    assert found == parse_row({"id": "a", "domain": "math", "response": found.response}, ResponseRow, DOMAINS, "x")


@pytest.mark.parametrize(("gold", "text"), [(72, "72"), (0.5, "0.5"), (-3, "-3"), ("x", "x")])
def test_a_gold_number_is_its_text(gold: object, text: str) -> None:
    assert parsed(ground_truth=gold).ground_truth == text


def test_an_id_keeps_its_type() -> None:
    assert parsed(id=7).id == 7
    assert parsed(id="7").id == "7"


@given(TEXTS)
def test_any_text_that_json_can_spell_is_taken_as_it_is(text: str) -> None:
    found = parse_row(json.loads(json.dumps(row(response=text))), ResponseRow, DOMAINS, "x")
    assert found.response == text


@pytest.mark.parametrize("kind", [GoldRow, ResponseRow])
@given(found=st.dictionaries(st.sampled_from([*ResponseRow.model_fields, "more"]) | TEXTS, JSON) | JSON)
def test_whatever_json_holds_is_a_row_or_one_line_of_complaint(kind: type[GoldRow], found: object) -> None:
    complaints = []
    try:
        parse_row(found, kind, DOMAINS, "rows.jsonl line 3")
    except WrongUse as error:
        complaints.append(str(error))
    for text in complaints:
        assert text.startswith("rows.jsonl line 3: ")
        assert text.isprintable() and len(text) < 600


def test_a_row_may_lack_a_response_where_golds_are_looked_at() -> None:
    assert parse_row({"id": "a", "domain": "math"}, GoldRow, DOMAINS, "x").response == ""


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_an_unknown_key_is_named_with_the_near_one() -> None:
    assert (
        complaint(grund_truth="7") == "unknown key 'grund_truth' (did you mean 'ground_truth'?); correct or remove it"
    )
    assert complaint(zzz=None, yyy=1).startswith("unknown key 'yyy' (known: id, domain, question, response, ")


def test_an_unknown_key_that_is_no_text_is_named_too() -> None:
    assert "unicode" in complaint(**{"\ud800": 1})


@pytest.mark.parametrize("key", ["id", "domain", "response"])
def test_a_key_that_is_needed_is_named(key: str) -> None:
    assert complaint(**{key: None}) == f"lacks the key {key!r}, or has null for it; add it"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("response", 7, "expected text, got int"),
        ("question", ["q"], "expected text, got list"),
        ("id", True, "expected text or a whole number, got bool"),
        ("id", 1.5, "expected text or a whole number, got float"),
        ("ground_truth", {"target": "x"}, "expected text or a number, got dict"),
        ("ground_truth", False, "expected text or a number, got bool"),
        ("ground_truth", float("nan"), "expected a finite number, got nan"),
        ("tests", "assert f()", "expected a list, got str"),
        ("checks", {"id": "x"}, "expected a list, got dict"),
        ("extra", [], "expected an object, got list"),
        ("mode", "quick", "expected one of fast, slow, auto, got 'quick'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(key: str, value: object, expected: str) -> None:
    assert complaint(**{key: value}) == f"key {key!r}: {expected}; correct it"


def test_a_misspelt_domain_is_named_with_the_known_ones() -> None:
    assert complaint(domain="maht").startswith(
        "unknown domain 'maht' (known: choice, code, general, instruction, math); correct it, or install the plugin"
    )


def test_a_domain_that_a_source_brings_is_known() -> None:
    assert parse_row(row(domain="poems"), ResponseRow, DOMAINS | {"poems"}, "x").domain == "poems"


def test_a_complaint_never_holds_the_value_itself() -> None:
    assert len(complaint(mode="x" * 10**6)) < 400
    assert len(complaint(**{"k" * 10**6: 1})) < 600
    assert "\x1b" not in complaint(domain="\x1b[2J")


# --- files -----------------------------------------------------------------------------------------------------------


def test_lines_are_counted_with_the_blank_ones(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", b'{"id": 1, "domain": "math", "response": ""}', b" \r", b"", b'{"id": 2}')
    found = read_rows(path, ResponseRow, DOMAINS)
    assert next(found).id == 1
    with pytest.raises(WrongUse, match=r"rows\.jsonl line 4: lacks the key 'domain'"):
        next(found)


@pytest.mark.parametrize(
    "line",
    [b"{", b'{"id": "\xff"}', b"[" * 100_000, b'{"id": ' + b"9" * 5_000 + b"}", b"\x00" * 20, b'{"id": 1}{"id": 2}'],
)
def test_a_line_that_is_no_json_is_named(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path / "rows.jsonl", line)
    with pytest.raises(WrongUse, match=r"rows\.jsonl line 1 is not JSON \(.*\); write one JSON object a line"):
        list(read_rows(path, ResponseRow, DOMAINS))


@pytest.mark.parametrize("line", [b"7", b"null", b'"text"', b"[]"])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path / "rows.jsonl", line)
    with pytest.raises(WrongUse, match=r"rows\.jsonl line 1: expected a JSON object, got "):
        list(read_rows(path, ResponseRow, DOMAINS))


def test_a_surrogate_written_as_bytes_is_the_same_as_one_spelled_out(tmp_path: Path) -> None:
    text = '{"id": 1, "domain": "math", "response": "\ud800"}'
    path = written(tmp_path / "rows.jsonl", text.encode("utf-8", "surrogatepass"))
    assert next(read_rows(path, ResponseRow, DOMAINS)).response == "\ud800"


def test_the_other_ends_of_lines_that_python_knows_are_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row(response="a\u2028b\x85c"), ensure_ascii=False) + "\n")
    assert next(read_rows(path, ResponseRow, DOMAINS)).response == "a\u2028b\x85c"


def test_an_endless_line_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LONGEST_LINE_BYTES", 1 << 20)
    path = written(tmp_path / "rows.jsonl", b"x" * (2 << 20))
    with pytest.raises(WrongUse, match="line 1 is longer than 1 MiB"):
        list(read_rows(path, ResponseRow, DOMAINS))


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [row(), {"id": 1}])
    assert next(read_rows(path, ResponseRow, DOMAINS)).id == "a"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"there is no file .*missing"):
        list(read_rows(tmp_path / "missing", ResponseRow, DOMAINS))
    with pytest.raises(WrongUse, match="there is no file"):
        list(read_rows(tmp_path, ResponseRow, DOMAINS))
