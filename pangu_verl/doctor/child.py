"""Asks other programs. What they print is data: bounded, cleaned of control characters, and never believed unread.

Invariant: ``ask`` comes back within its time with an answer, whatever the program does; whole process groups are ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

_KEPT_BYTES = 1 << 16
_QUOTED_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of what a program printed. ``trouble`` says why it did not end well, and is empty if it did."""

    output: str
    errors: str
    trouble: str

    @property
    def reason(self) -> str:
        """Why it did not end well, with the last line that it printed about it."""
        said = quoted(self.errors) or quoted(self.output)
        return f"{self.trouble}: {said}" if said else self.trouble


def ask(command: Sequence[str], timeout_s: float) -> Answer:
    """Run ``command`` for at most ``timeout_s`` seconds and return what it said."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        trouble = _run(command, timeout_s, output, errors)
        return Answer(_end_of(output), _end_of(errors), trouble)


def last_json(text: str) -> Any:
    """The value of the last line of ``text``; None if that is no JSON."""
    lines = text.strip().splitlines()
    try:
        return json.loads(lines[-1]) if lines else None
    except ValueError:
        return None


def quoted(text: str) -> str:
    """The last line of ``text`` that says something, fit to be shown."""
    lines = [printable for line in text.splitlines() if (printable := _printable(line))]
    return lines[-1][:_QUOTED_CHARACTERS] if lines else ""


def _printable(line: str) -> str:
    return "".join(character for character in line if character.isprintable()).strip()


def _run(command: Sequence[str], timeout_s: float, output: IO[bytes], errors: IO[bytes]) -> str:
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
        )
    except OSError as error:
        return f"{command[0]} cannot be started ({error.strerror})"
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return f"no answer in {timeout_s:g} s"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code < 0:
        return f"died of signal {-code}"
    return f"ended with exit code {code}" if code else ""


def _end_of(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _KEPT_BYTES))
    return file.read(_KEPT_BYTES).decode(errors="replace")
