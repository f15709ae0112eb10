"""Finding the program in an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.mars.code.extraction import extract_program

PIECES = st.sampled_from(["```", "````", "~~~", "python", "\n", "x = 1", " ", "text", "\x00", "\ud800", "def f():"])


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        ("```python\nx = 1\n```", "x = 1"),
        ("```py\nx = 1\n```\nor\n```\nx = 2\n```\ndone", "x = 2"),
        ("```python\nx = 1\n```\nIt prints\n```text\n1\n```", "x = 1"),
        ("```cpp\nint x;\n```", "int x;"),
        ("x = 1", "x = 1"),
        ("```python\nx = 1", "x = 1"),
        ("1. So\n   ```python\n   if x:\n       y()\n   ```", "if x:\n    y()"),
        ("~~~python\ns = '```'\n~~~", "s = '```'"),
        ("````python\n'''\n```\n'''\n````", "'''\n```\n'''"),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1"),
        ("```{.python}\nx = 1\n```", "x = 1"),
        ("```python title='a'\nx = 1\n```", "x = 1"),
    ],
)
def test_program_is_the_last_fenced_block_or_the_whole(answer: str, program: str) -> None:
    assert extract_program(answer) == program


@pytest.mark.parametrize("answer", ["", " \n", "```python\n```", "```python\n \n```"])
def test_nothing_gives_no_program(answer: str) -> None:
    assert extract_program(answer) is None


@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_text_gives_one_program_or_none(answer: str) -> None:
    program = extract_program(answer)
    assert program is None or program.strip()


@given(st.text(alphabet="ab=1\n ", min_size=1).filter(str.strip))
def test_prose_around_a_block_changes_nothing(code: str) -> None:
    fenced = f"```python\n{code}\n```"
    assert extract_program(fenced) == extract_program(f"Here it is:\n\n{fenced}\n\nThat is all.")
