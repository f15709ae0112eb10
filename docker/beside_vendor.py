"""Prints what pangu-verl needs beside the packages that a vendor's image brings, one requirement a line.

    python3 docker/beside_vendor.py pyproject.toml torch verl

Names that pyproject.toml does not ask for are refused: the image's file would say something that is no longer so.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def beside(project: Path, brought: Sequence[str]) -> list[str]:
    """The dependencies of ``project`` without those ``brought``; raises ``SystemExit`` for a name it does not have."""
    asked = {canonicalize_name(Requirement(line).name): line for line in _dependencies(project)}
    names = [canonicalize_name(name) for name in brought]
    if unknown := [name for name in names if name not in asked]:
        raise SystemExit(f"{project} does not ask for {', '.join(unknown)} (it asks for {', '.join(sorted(asked))})")
    return [line for name, line in asked.items() if name not in names]


def _dependencies(project: Path) -> list[str]:
    return [str(line) for line in tomllib.loads(project.read_text())["project"]["dependencies"]]


if __name__ == "__main__":
    print("\n".join(beside(Path(sys.argv[1]), sys.argv[2:])))
