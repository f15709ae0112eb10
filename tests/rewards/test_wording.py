"""Text from outside on a terminal, tables, and progress."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pangu_verl.rewards import row_progress as progress
from pangu_verl.rewards.wording import SHOWN_CHARACTERS, shown, table


@given(st.text(st.characters()))
def test_what_is_shown_is_printable_and_has_an_end(text: str) -> None:
    found = shown(text)
    assert found.isprintable()
    assert len(found) <= 10 * (SHOWN_CHARACTERS + 1)
    assert not text.isprintable() or len(text) > SHOWN_CHARACTERS or found == text


def test_escapes_are_spelled_out() -> None:
    assert shown("a\x1b[2J\n\ud800ü") == r"a\x1b[2J\n\ud800ü"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("name", "rows"), [("a", "10"), ("long name", "7")]).splitlines() == [
        "name       rows",
        "a            10",
        "long name     7",
    ]


def progress_of(num_rows: int, *, done: int = 0, is_terminal: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=is_terminal, width=100)
    with progress.row_progress(console, num_rows, done=done) as advance:
        for _ in range(num_rows - done):
            advance()
    return stream.getvalue()


def test_elsewhere_the_end_is_a_plain_line() -> None:
    assert progress_of(3, done=1) == "judged 3/3 rows\n"


def test_elsewhere_a_long_run_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    assert progress_of(3, done=1) == "judged 2/3 rows\njudged 3/3 rows\njudged 3/3 rows\n"


def test_a_terminal_shows_a_bar() -> None:
    assert "3/3" in progress_of(3, is_terminal=True)


def test_nothing_is_said_of_an_end_that_was_not_reached() -> None:
    stream = io.StringIO()
    with pytest.raises(OSError), progress.row_progress(Console(file=stream), 3):
        raise OSError
    assert stream.getvalue() == ""
