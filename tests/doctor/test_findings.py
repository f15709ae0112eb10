"""What the doctor shows: every finding that is not well says what to do."""

from __future__ import annotations

import json

import pytest

from pangu_verl.doctor import Finding, describe


def problem(**changes: str) -> Finding:
    return Finding(**{"name": "torch", "status": "problem", "found": "2.9", "advice": "install torch>=2.10", **changes})  # type: ignore[arg-type]


def test_a_finding_that_is_ok_gives_no_advice() -> None:
    with pytest.raises(ValueError, match="'torch' is ok"):
        Finding(name="torch", status="ok", found="2.13", advice="do something")


@pytest.mark.parametrize("status", ["problem", "warning", "unknown"])
def test_a_finding_that_is_not_ok_gives_advice(status: str) -> None:
    with pytest.raises(ValueError, match=f"'torch' is {status}"):
        problem(status=status, advice="")


def test_a_finding_is_json_with_name_and_status() -> None:
    written = json.loads(json.dumps(problem(source="https://example.org/1").to_json()))
    assert written == {
        "name": "torch",
        "status": "problem",
        "found": "2.9",
        "advice": "install torch>=2.10",
        "source": "https://example.org/1",
    }


def test_a_problem_is_shown_with_what_to_do_and_where_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = describe([problem(source="verl 0.9.1, x.py:1"), Finding(name="ray", status="ok", found="2.60.0")])
    assert "problem  torch: 2.9" in shown
    assert "to do: install torch>=2.10" in shown
    assert "see: verl 0.9.1, x.py:1" in shown
    assert shown.splitlines()[-1] == "1 ok, 0 warning, 1 problem, 0 unknown"


def test_long_advice_is_wrapped_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = describe([problem(advice="word " * 60)])
    assert max(map(len, shown.splitlines())) <= 60
    assert shown.count("word") == 60


def test_an_address_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    address = f"https://example.org/{'long/' * 30}end"
    assert address in "".join(row.strip() for row in describe([problem(source=address)]).splitlines())


def test_brackets_in_what_was_found_are_shown_as_they_are() -> None:
    assert "[/red] [bold]x" in describe([problem(found="[/red] [bold]x")])


def test_nothing_found_is_counted_as_nothing() -> None:
    assert describe([]).strip() == "0 ok, 0 warning, 0 problem, 0 unknown"
