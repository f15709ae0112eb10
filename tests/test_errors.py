"""What is taken of an error for one line."""

from __future__ import annotations

import pytest

from pangu_verl.errors import PanguError, RunFailed, WrongUse, first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one"), "one"),
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n\n  one  \ntwo"), "one"),
        (ValueError(), "ValueError"),
        (ValueError(" \n "), "ValueError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_the_first_line_that_says_something(error: BaseException, line: str) -> None:
    assert first_line(error) == line


def test_wrong_use_leaves_with_two_and_any_other_error_with_one() -> None:
    assert (WrongUse.exit_code, RunFailed.exit_code, PanguError.exit_code) == (2, 1, 1)
