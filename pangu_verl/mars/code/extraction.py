"""The program in an answer: the last fenced block, or else the whole answer.

Invariant: one answer gives at most one program. A last block that is not closed was cut off and counts as it is. Blocks
labelled as another language, such as a sample of output, are passed over unless there are no others. All work is
linear in the text. Whether the program is valid Python is not judged here.
"""

from __future__ import annotations

import re
import textwrap

PYTHON_LABELS = frozenset({"", "py", "python", "python2", "python3", "py3", "ipython", "ipython3", "pycon", "code"})

_FENCE = re.compile(r"^[ \t>]{0,12}(?P<marks>`{3,}|~{3,})[ \t]*(?P<label>[^\n`]*)$", re.MULTILINE)


def extract_program(answer: str) -> str | None:
    """The code as written, without its fence; None where there is nothing."""
    text = answer.replace("\r\n", "\n")
    blocks = _fenced_blocks(text)
    chosen = [code for label, code in blocks if label in PYTHON_LABELS] or [code for _, code in blocks]
    program = chosen[-1] if chosen else text
    return textwrap.dedent(program).strip("\n") if program.strip() else None


def _fenced_blocks(text: str) -> list[tuple[str, str]]:
    """(label in lower case, content) of each block; a fence closes with at least as many of the same marks, alone."""
    blocks: list[tuple[str, str]] = []
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif fence["marks"].startswith(opening["marks"]) and not fence["label"].strip():
            blocks.append((_label(opening), text[opening.end() + 1 : fence.start()]))
            opening = None
    if opening is not None:
        blocks.append((_label(opening), text[opening.end() + 1 :]))
    return blocks


def _label(fence: re.Match[str]) -> str:
    words = re.split(r"[\s{},:]+", fence["label"].strip().strip("{}.").lower(), maxsplit=1)
    return words[0]
