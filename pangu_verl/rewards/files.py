"""The files that a command reads, and those that it writes as a whole.

Invariant: a file that is there is replaced only where that was asked for, only by a whole one, and never if it is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pangu_verl.errors import WrongUse


def check_is_file(path: Path) -> None:
    if not path.is_file():
        raise WrongUse(f"there is no file {path}; check the path")


def check_is_other(path: Path, option: str, source: Path) -> None:
    """Raise ``WrongUse`` where ``path``, to be written, is the file that is read."""
    if path.exists() and path.samefile(source):
        raise WrongUse(f"{option} {path} is the file that is read; name another")


@contextmanager
def written_whole(path: Path | None, option: str, *, overwrite: bool) -> Iterator[IO[str] | None]:
    """A file that takes its place once the block has ended well; None where ``path`` is."""
    if path is None:
        yield None
        return
    if path.is_dir() or (path.exists() and not overwrite):
        raise WrongUse(f"{option} {path} exists; name another file, or replace it with --overwrite")
    temporary = path.with_name(f"{path.name}.new")
    try:
        stream = temporary.open("w")
    except OSError as error:
        raise WrongUse(f"{option} {path} cannot be written ({error.strerror}); name another file") from error
    try:
        with stream:
            yield stream
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
