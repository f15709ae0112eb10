"""Which extras PyPI can satisfy, on which platform: the tables of docs/installing.md, asked anew.

uv resolves metadata for a platform and a Python that need not be this machine's; nothing is installed. What exists is
taken as of one day, so that a release of somebody else does not change what this commit says.
"""

from __future__ import annotations

import os
import subprocess
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from uv import find_uv_bin

ROOT = Path(__file__).parents[2]
AS_OF = "2026-11-22"
ARCHITECTURES = ("x86_64", "aarch64")


@dataclass(frozen=True)
class Row:
    """What is asked for, and for each architecture the packages whose needs contradict, if any do."""

    asked: str
    python: str
    x86_64: tuple[str, ...] = ()
    aarch64: tuple[str, ...] = ()

    def conflict(self, architecture: str) -> tuple[str, ...]:
        return self.x86_64 if architecture == "x86_64" else self.aarch64

    def __str__(self) -> str:
        """The row in Markdown."""
        conflicts = map(self.conflict, ARCHITECTURES)
        cells = (f"conflict: {', '.join(names)}" if names else "resolves" for names in conflicts)
        return f"| `{self.asked}` | {self.python} | {' | '.join(cells)} |"


NO_BUILD_OF_TORCH = ("torch-npu", "torch==2.10.0+cpu")
NO_TRITON = ("vllm-ascend", "triton-ascend==3.2.2")
EXTRAS = (
    Row("pangu-verl[cpu]", "3.11"),
    Row("pangu-verl[cpu]", "3.12"),
    Row("pangu-verl[cuda]", "3.11"),
    Row("pangu-verl[cuda]", "3.12"),
    Row("pangu-verl[megatron]", "3.11"),
    Row("pangu-verl[megatron]", "3.12"),
    Row("pangu-verl[npu]", "3.11", NO_BUILD_OF_TORCH, NO_TRITON),
    Row("pangu-verl[npu]", "3.12", NO_BUILD_OF_TORCH, NO_TRITON),
    Row("pangu-verl[bench]", "3.11"),
    Row("pangu-verl[serve]", "3.11"),
    Row("pangu-verl[dev]", "3.11"),
)
TWO_TORCHES = ("torch-npu", "torch==2.10.0", "vllm", "torch==2.11.0")
TWO_NUMPYS = ("verl", "numpy>=2.0.0", "numpy<2")
TWO_CORES = ("megatron-bridge", "megatron-core")
TOGETHER = (
    Row("pangu-verl[cuda,npu]", "3.11", TWO_TORCHES, TWO_TORCHES),
    Row("pangu-verl torch-npu>=2.10,<2.11 vllm>=0.23,<0.24", "3.11", NO_BUILD_OF_TORCH, TWO_TORCHES),
    Row("pangu-verl numpy<2", "3.11", TWO_NUMPYS, TWO_NUMPYS),
    Row("pangu-verl[megatron] megatron-bridge>=0.5,<0.6", "3.12", TWO_CORES, TWO_CORES),
)
#: What PyPI has no build of and the vendor's index has: taken as if any version served.
VENDOR_BUILDS = "torch==2.10.0\ntriton-ascend\n"


def resolve(asked: str, python: str, architecture: str, *options: str) -> subprocess.CompletedProcess[str]:
    """uv's answer for this checkout with extras and with what is asked for beside it."""
    core, *beside = asked.split()
    extras = (option for extra in sorted(Requirement(core).extras) for option in ("--extra", extra))
    command = [find_uv_bin(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-python-downloads"]
    command += ["--exclude-newer", AS_OF, "--python-version", python]
    command += ["--python-platform", f"{architecture}-unknown-linux-gnu", "pyproject.toml", "-", *extras, *options]
    # Package files that this machine alone offers would answer for the registry.
    variables = {name: value for name, value in os.environ.items() if name != "UV_FIND_LINKS"}
    return subprocess.run(command, cwd=ROOT, env=variables, input="\n".join(beside), capture_output=True, text=True)


def table(rows: Iterable[Row]) -> str:
    """The rows as docs/installing.md has them."""
    head = ["| asked for | Python | Linux x86_64 | Linux aarch64 |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *map(str, rows)]) + "\n"


@pytest.mark.slow
@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("row", EXTRAS + TOGETHER, ids=lambda row: f"{row.asked} {row.python}")
def test_what_resolves_and_what_contradicts_is_as_the_table_says(row: Row, architecture: str) -> None:
    answer = resolve(row.asked, row.python, architecture)
    conflict = row.conflict(architecture)
    if conflict:
        assert "No solution found" in answer.stderr, answer.stderr or answer.stdout
        assert not [name for name in conflict if name not in answer.stderr], answer.stderr
    else:
        assert answer.returncode == 0, answer.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_else_contradicts_once_the_vendors_builds_are_at_hand(architecture: str, tmp_path: Path) -> None:
    vendor = tmp_path / "vendor.txt"
    vendor.write_text(VENDOR_BUILDS)
    answer = resolve("pangu-verl[npu]", "3.11", architecture, "--override", str(vendor))
    assert answer.returncode == 0, answer.stderr
    assert {"torch==2.10.0", "transformers==5.5.4"} <= set(answer.stdout.split())


@pytest.mark.parametrize("rows", [EXTRAS, TOGETHER])
def test_the_page_on_installing_has_this_table(rows: tuple[Row, ...]) -> None:
    assert table(rows) in (ROOT / "docs" / "installing.md").read_text()


def test_every_extra_is_in_the_table() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {extra for row in EXTRAS for extra in Requirement(row.asked).extras} == set(declared)
