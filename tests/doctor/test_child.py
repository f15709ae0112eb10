"""Other programs are asked within a time, and what they print is bounded and cleaned. The programs are fakes."""

from __future__ import annotations

import sys
from typing import Any

import psutil
import pytest
from doctor_fakes import Program

from pangu_verl.doctor.child import Answer, ask, last_json, quoted


def python(program: str) -> list[str]:
    return [sys.executable, "-S", "-c", program]


def test_a_program_that_ends_well_has_no_trouble(program: Program) -> None:
    program("fine", "echo out; echo err >&2")
    assert ask(["fine"], 10) == Answer("out\n", "err\n", "")


def test_a_program_that_is_not_there_is_said() -> None:
    answer = ask(["no-such-program"], 10)
    assert answer.reason == "no-such-program cannot be started (No such file or directory)"


def test_a_program_that_fails_is_quoted(program: Program) -> None:
    program("broken", "echo first >&2; echo 'no device' >&2; exit 3")
    assert ask(["broken"], 10).reason == "ended with exit code 3: no device"


def test_a_program_that_crashes_is_named_with_its_signal() -> None:
    assert ask(python("import os; os.abort()"), 10).trouble == "died of signal 6"


def test_a_program_that_hangs_is_ended_with_its_children(program: Program) -> None:
    program("hangs", "sleep 61 & echo $!; wait")
    answer = ask(["hangs"], 0.5)
    assert answer.trouble == "no answer in 0.5 s"
    child = int(answer.output)
    gone, _ = psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=10)
    assert gone or not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_what_came_before_a_hang_still_counts(program: Program) -> None:
    program("hangs", "echo before; sleep 61")
    assert ask(["hangs"], 0.5).output == "before\n"


def test_only_the_end_of_a_flood_is_kept(program: Program) -> None:
    program("flood", "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end")
    output = ask(["flood"], 30).output
    assert len(output) <= 1 << 16 and output.endswith("end\n")


def test_bytes_that_are_no_text_are_read_all_the_same(program: Program) -> None:
    program("bytes", "printf '\\377\\376ok'")
    assert ask(["bytes"], 10).output.endswith("ok")


def test_nothing_is_read_from_the_users_terminal(program: Program) -> None:
    program("reads", "cat")
    assert ask(["reads"], 10) == Answer("", "", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("noise\n[true, 2]\n", [True, 2]),
        ("[1]\nnoise", None),
        ("", None),
        ("\n\n", None),
        ("NaN-ish", None),
    ],
)
def test_the_last_line_is_read_as_json(text: str, expected: Any) -> None:
    assert last_json(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("first\nlast\n\n", "last"),
        ("\x1b[31mred\x07\n", "[31mred"),
        ("   \n\t\n", ""),
        ("x" * 1000, "x" * 300),
    ],
)
def test_a_quote_is_one_clean_line(text: str, expected: str) -> None:
    assert quoted(text) == expected
