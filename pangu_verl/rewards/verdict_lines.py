"""The output of ``rewards score``: one verdict a line, in the order of the input, and what an earlier run left of it.

Invariants: a line is handed to the system whole, so a killed run leaves whole lines and at most one torn last line,
which ``kept`` cuts off; what is kept is never written again; a file that this command cannot
have written is left alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.rewards.rows import GoldRow

ADVICE = "name another --output, or start afresh with --overwrite"


class VerdictFile:
    """An output file: iterate ``kept`` to its end, then ``append``. A context manager; raises ``PanguError``."""

    def __init__(self, path: Path, *, resume: bool, overwrite: bool) -> None:
        if resume and overwrite:
            raise WrongUse("--resume keeps what --overwrite throws away; give one of them")
        if path.exists() and not path.is_file():
            raise WrongUse(f"--output {path} is no file; name a file")
        if path.exists() and not (resume or overwrite):
            raise WrongUse(f"--output {path} exists; go on with it by --resume, or start afresh with --overwrite")
        self._path = path
        self._resume = resume
        self._descriptor = -1

    def __enter__(self) -> VerdictFile:
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (0 if self._resume else os.O_TRUNC)
        try:
            self._descriptor = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise WrongUse(f"--output {self._path} cannot be written ({error.strerror}); name another file") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def kept(self) -> Iterator[dict[str, Any]]:
        """The lines of an earlier run; a torn last line is cut off when it is reached."""
        whole_bytes = 0
        with self._path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.endswith(b"\n"):
                    os.truncate(self._descriptor, whole_bytes)
                    return
                whole_bytes += len(line)
                yield self._verdict(number, line)

    def append(self, line: Mapping[str, Any]) -> None:
        rest = memoryview(json.dumps(line, allow_nan=False).encode() + b"\n")
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise RunFailed(
                f"--output {self._path} cannot be written any further ({error.strerror}); mend that and go on with "
                "--resume"
            ) from error

    def _verdict(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not _is_verdict(found):
            raise WrongUse(f"--resume: {self._path} line {number} is no verdict; {ADVICE}")
        return found


def check_same_row(kept: Mapping[str, Any], row: GoldRow, number: int) -> None:
    """Raise ``WrongUse`` where the verdict in line ``number`` belongs to another row."""
    if kept["id"] != row.id or kept["domain"] != row.domain:
        raise WrongUse(
            f"--resume: verdict {number} of --output is of row {kept['id']!r:.80}, row {number} of --input is "
            f"{row.id!r:.80}; {ADVICE}"
        )


def _is_verdict(found: Mapping[str, Any]) -> bool:
    """Whether an object has what ``score.verdict_line`` makes, as far as it is read again."""
    score, passed = found.get("score"), found.get("passed")
    is_score = score is None or (isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1)
    return (
        isinstance(found.get("id"), str | int)
        and all(isinstance(found.get(key), str) for key in ("domain", "source"))
        and (passed is None or isinstance(passed, bool))
        and is_score
    )
